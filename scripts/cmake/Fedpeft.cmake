# The three kinds of target of this project, so that warnings, sanitizers and include paths are said once.

set(FEDPEFT_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND FEDPEFT_WARNINGS -Wno-restrict)  # false alarms on std::string concatenation (GCC bug 105651)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND FEDPEFT_UNITY)
  list(APPEND FEDPEFT_WARNINGS -Wno-subobject-linkage)  # takes a source of several for a header
endif()

# ours(target [TORCH]): warnings, no fused multiply-add (both ends must compute the same bits), sanitizers.
function(fedpeft_ours target)
  cmake_parse_arguments(ARG "TORCH" "" "" ${ARGN})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  target_compile_options(${target} PRIVATE ${FEDPEFT_WARNINGS} -ffp-contract=off)
  if(NOT ARG_TORCH)
    target_compile_options(${target} PRIVATE -Wconversion)
  endif()
  if(FEDPEFT_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${FEDPEFT_SANITIZE} -fno-omit-frame-pointer -g1)
    target_link_options(${target} PUBLIC -fsanitize=${FEDPEFT_SANITIZE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)  # which warns falsely of what it has instrumented
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    endif()
  endif()
  if(FEDPEFT_FUZZ)
    target_compile_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# fedpeft_torch_header(target): LibTorch's headers cost half a minute a unit; precompiled once, for all
# (all torch targets have the same flags; the lowest of them, peft/model, owns it).
function(fedpeft_torch_header target)
  target_link_libraries(${target} PRIVATE LibTorch::LibTorch)  # its headers must not reach units with protobuf
  if(target STREQUAL fedpeft_model)
    target_precompile_headers(${target} PRIVATE <torch/torch.h>)
  else()
    target_precompile_headers(${target} REUSE_FROM fedpeft_model)
  endif()
endfunction()

# fedpeft_test_header(target): the same for what tests include; core_test, the lowest, owns it. Some have -pthread from a
# library below them, and a precompiled header is for one set of flags.
function(fedpeft_test_header target)
  if(CMAKE_DISABLE_PRECOMPILE_HEADERS)
    return()
  endif()
  target_compile_options(${target} PRIVATE -pthread)
  if(target STREQUAL core_test)
    target_precompile_headers(${target} PRIVATE <gmock/gmock.h> <gtest/gtest.h> <nlohmann/json.hpp>)
  else()
    target_precompile_headers(${target} REUSE_FROM core_test)
  endif()
endfunction()

# fedpeft_json_header(target): nlohmann's header costs seconds a unit; precompiled for libraries of many that read JSON.
# Not with g++ 12, which then takes libstdc++'s headers for ours and warns of them.
function(fedpeft_json_header target)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_precompile_headers(${target} PRIVATE <nlohmann/json.hpp>)
  endif()
endfunction()

# fedpeft_library(NAME [TORCH] SOURCES ... LIBS ...): a static library fedpeft_NAME, alias fedpeft::NAME. Its sources are
# compiled several at once (FEDPEFT_UNITY): most of a unit's time goes into the headers that they share.
function(fedpeft_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(fedpeft_${name} STATIC ${ARG_SOURCES})
  add_library(fedpeft::${name} ALIAS fedpeft_${name})
  set_target_properties(fedpeft_${name} PROPERTIES UNITY_BUILD ${FEDPEFT_UNITY})
  target_link_libraries(fedpeft_${name} PUBLIC ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
  if(ARG_TORCH)
    fedpeft_ours(fedpeft_${name} TORCH)
    fedpeft_torch_header(fedpeft_${name})
  else()
    fedpeft_ours(fedpeft_${name})
  endif()
endfunction()

# fedpeft_program(NAME SOURCES ... LIBS ...): an executable, installed with those of LibTorch's libraries that it needs;
# the installed tree may be moved as a whole.
function(fedpeft_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
  fedpeft_ours(${name})
  set_target_properties(${name} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS ${name}
    RUNTIME_DEPENDENCIES
      PRE_EXCLUDE_REGEXES "^linux-vdso" "^ld-linux"
      POST_INCLUDE_REGEXES "/torch/lib/" "/libtorch/lib/" ${FEDPEFT_LIBTORCH_REGEX}
      POST_EXCLUDE_REGEXES ".*"
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

# fedpeft_test(NAME [TORCH] SOURCES ... LIBS ... [LABELS ...]): a GoogleTest executable registered with ctest. The label
# `parsers` is for what reads what others wrote; all of these are the target of that name.
function(fedpeft_test name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;LIBS;LABELS" ${ARGN})
  if(ARG_TORCH AND NOT FEDPEFT_TORCH)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  if(ARG_TORCH)
    fedpeft_ours(${name} TORCH)
    fedpeft_torch_header(${name})
  else()
    fedpeft_ours(${name})
    target_compile_options(${name} PRIVATE -O0)  # half the time to build; what is tested is optimised
    fedpeft_test_header(${name})
  endif()
  target_compile_definitions(${name} PRIVATE FEDPEFT_SOURCE_DIR="${PROJECT_SOURCE_DIR}" FEDPEFT_BINARY_DIR="${PROJECT_BINARY_DIR}")
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${FEDPEFT_UNITY})
  add_test(NAME ${name} COMMAND ${name})
  # LibTorch's threads wait as fedpeft-client has them: spinning, they make a busy machine a hundred times slower.
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600 ENVIRONMENT "OMP_WAIT_POLICY=passive")
  if("parsers" IN_LIST ARG_LABELS)
    add_dependencies(parsers ${name})
  endif()
  if(FEDPEFT_SANITIZE)
    set_tests_properties(${name} PROPERTIES TIMEOUT 3000)  # they make it up to fifteen times slower
    # Reports of the libraries below us, each with its reason in the file.
    set(_support ${PROJECT_SOURCE_DIR}/tests/support)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT
      "LSAN_OPTIONS=suppressions='${_support}/lsan.supp';TSAN_OPTIONS=suppressions='${_support}/tsan.supp' ignore_noninstrumented_modules=1 history_size=4")
  endif()
endfunction()
