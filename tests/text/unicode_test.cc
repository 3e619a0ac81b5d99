#include "peft/text/unicode.h"

#include <gtest/gtest.h>

#include "peft/text/normalization_forms.h"
#include "peft/text/unicode_tables.h"

namespace fedpeft::text {
namespace {

bool Has(char32_t c, Property property) {
  return (Properties(c) & property) != 0;
}

std::u32string Nfd(std::u32string text) {
  DecomposeCanonically(text);
  return text;
}

std::u32string Lower(std::u32string text) {
  Lowercase(text);
  return text;
}

TEST(UnicodeTest, RowsAreSortedAndApart) {
  const auto sorted = [](auto rows) {
    for (std::size_t i = 1; i < rows.size(); ++i) {
      if (rows[i].first <= rows[i - 1].last) return false;
    }
    return !rows.empty();
  };
  for (auto rows : {kRemovedByClean, kWhiteSpace, kBertPunctuation, kNonspacingMarks, kWordCharacters}) {
    EXPECT_TRUE(sorted(rows));
  }
  EXPECT_TRUE(sorted(kCombiningClasses));
  for (std::size_t i = 1; i < kDecompositions.size(); ++i) {
    EXPECT_TRUE(kDecompositions[i - 1].code_point < kDecompositions[i].code_point) << i;
  }
}

TEST(UnicodeTest, PropertiesOfKnownCodePoints) {
  EXPECT_TRUE(Has(U' ', kSpace) && Has(0x3000, kSpace) && Has(0x85, kSpace));
  EXPECT_FALSE(Has(0x180E, kSpace) || Has(0x200B, kSpace));
  EXPECT_TRUE(Has(0x180E, kRemoved) && Has(0xE000, kRemoved) && Has(0xFFFD, kRemoved) && Has(0, kRemoved));
  EXPECT_FALSE(Has(0x378, kRemoved)) << "unassigned code points stay";
  EXPECT_FALSE(Has(U'\t', kRemoved) || Has(U'\n', kRemoved) || Has(U'\r', kRemoved));
  EXPECT_TRUE(Has(U'$', kPunctuation) && Has(0x2014, kPunctuation) && Has(0x3002, kPunctuation));
  EXPECT_FALSE(Has(0x20AC, kPunctuation)) << "the euro sign is a symbol";
  EXPECT_TRUE(Has(0x301, kNonspacing) && !Has(0x93E, kNonspacing));
  EXPECT_TRUE(Has(U'x', kWord) && Has(U'_', kWord) && Has(0xE9, kWord) && !Has(U'-', kWord));
  EXPECT_EQ(Properties(0x10FFFF) & kWord, 0);
}

TEST(UnicodeTest, CanonicalDecompositionDecomposesAndOrders) {
  EXPECT_EQ(Nfd(U"\u00E9"), U"e\u0301");
  EXPECT_EQ(Nfd(U"\u1E69"), U"s\u0323\u0307") << "two steps";
  EXPECT_EQ(Nfd(U"s\u0307\u0323"), U"s\u0323\u0307") << "marks in order of class";
  EXPECT_EQ(Nfd(U"\u212B"), U"A\u030A") << "singleton that decomposes again";
  EXPECT_EQ(Nfd(U"\uAC01"), U"\u1100\u1161\u11A8");
  EXPECT_EQ(Nfd(U"\uAC00"), U"\u1100\u1161") << "no trailing consonant";
  EXPECT_EQ(Nfd(U"\U0002F800"), U"\u4E3D");
  EXPECT_EQ(Nfd(U"a\u0301\u0300"), U"a\u0301\u0300") << "equal classes keep their order";
}

TEST(UnicodeTest, LowercaseIsPerCodePoint) {
  EXPECT_EQ(Lower(U"A\u00C9\u0130\u1E9E"), U"a\u00E9i\u0307\u00DF");
  EXPECT_EQ(Lower(U"\u0391\u03A3"), U"\u03B1\u03C3") << "no final sigma";
  EXPECT_EQ(Lower(U"\u0100\u0101\u0139\u013A\u0178"), U"\u0101\u0101\u013A\u013A\u00FF") << "ranges with stride 2";
  EXPECT_EQ(Lower(U"\u13A0\u1C90\U00010400"), U"\uAB70\u10D0\U00010428");
}

TEST(UnicodeTest, EveryCodePointIsSafe) {
  std::u32string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c >= 0xE000) all.push_back(c);
  }
  Lowercase(all);
  for (char32_t c : Nfd(all)) ASSERT_TRUE(c < 0x110000);
  EXPECT_EQ(Nfd(Nfd(all)), Nfd(all));
}

}  // namespace
}  // namespace fedpeft::text
