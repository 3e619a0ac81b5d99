# LibTorch::LibTorch: libtorch_cpu and libc10 of a LibTorch folder, and nothing else of it.
#
# The folder is FEDPEFT_LIBTORCH, or the torch package of build/venv (scripts/setup.sh makes it). torch's own CMake
# package is not used: it looks for a CUDA toolkit on CUDA wheels and puts its bundled protobuf headers on the path of
# every target.
if(NOT FEDPEFT_LIBTORCH)
  file(GLOB _candidates ${PROJECT_SOURCE_DIR}/build/venv/lib/python3*/site-packages/torch)
  if(_candidates)
    list(GET _candidates 0 FEDPEFT_LIBTORCH)
  endif()
endif()

find_path(LibTorch_INCLUDE_DIR torch/script.h HINTS ${FEDPEFT_LIBTORCH}/include NO_DEFAULT_PATH)
find_library(LibTorch_CPU torch_cpu HINTS ${FEDPEFT_LIBTORCH}/lib NO_DEFAULT_PATH)
find_library(LibTorch_C10 c10 HINTS ${FEDPEFT_LIBTORCH}/lib NO_DEFAULT_PATH)
# The version moved between headers over the releases.
foreach(_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(LibTorch_INCLUDE_DIR AND NOT LibTorch_VERSION AND EXISTS ${LibTorch_INCLUDE_DIR}/${_header})
    file(READ ${LibTorch_INCLUDE_DIR}/${_header} _text)
    if(_text MATCHES "TORCH_VERSION_MAJOR ([0-9]+)")
      set(LibTorch_VERSION ${CMAKE_MATCH_1})
      string(REGEX MATCH "TORCH_VERSION_MINOR ([0-9]+)" _ "${_text}")
      set(LibTorch_VERSION ${LibTorch_VERSION}.${CMAKE_MATCH_1})
    endif()
  endif()
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU LibTorch_C10 LibTorch_INCLUDE_DIR VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup.sh, or set FEDPEFT_LIBTORCH to a LibTorch folder (2.4 or newer)")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  if(LibTorch_VERSION VERSION_LESS 2.4)
    message(FATAL_ERROR "LibTorch ${LibTorch_VERSION} in ${FEDPEFT_LIBTORCH}: want 2.4 or newer (set FEDPEFT_LIBTORCH)")
  endif()
  get_filename_component(LibTorch_LIB_DIR ${LibTorch_CPU} DIRECTORY)
  # at::parallel_for is parallel only where it is compiled with OpenMP, and has to share LibTorch's own threads: its copy of
  # the runtime is linked, or, where it brings none, the compiler's, which is then its too.
  file(GLOB _openmp ${LibTorch_LIB_DIR}/libgomp*.so* ${LibTorch_LIB_DIR}/libiomp5*.so*)
  if(_openmp)
    list(GET _openmp 0 _openmp)
  else()
    set(_openmp -fopenmp)
  endif()
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  set_target_properties(LibTorch::LibTorch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include"
    INTERFACE_COMPILE_OPTIONS -fopenmp
    INTERFACE_LINK_LIBRARIES "${LibTorch_CPU};${LibTorch_C10};${_openmp}")
  # What `cmake --install` takes along: the libraries of this folder, whatever its name.
  string(REGEX REPLACE "([][+.*()^$?|\\\\])" "\\\\\\1" FEDPEFT_LIBTORCH_REGEX "${LibTorch_LIB_DIR}/")
endif()
