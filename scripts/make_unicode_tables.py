#!/usr/bin/env python3
"""Writes peft/text/unicode_tables.cc: what the `tokenizers` package takes every code point for.

Every table is asked of the package itself, one code point at a time, because its parts were built from different
Unicode versions and none of them is the installed ICU's. Canonical combining classes are Python's, after checking that
every code point the package reorders has one: a class never changes once a character is assigned. Grapheme breaking
cannot be asked for by code point: its properties are those of the `regex` package, in a release that has Unicode 17 as
the `tokenizers` package does, and tests/parity/tokenizer_parity.py compares what comes of them.

Usage: build/venv/bin/python scripts/make_unicode_tables.py [--out FILE]
"""
import argparse
import json
import os
import unicodedata

import regex
import tokenizers
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic, Unicode 3.12
EVERYTHING = "".join(map(chr, CODE_POINTS))
# In the order of enum Category; what is in none of them is unassigned.
CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
# In the order of enum GraphemeBreak, after its first value, kOther; Hangul syllables are told by arithmetic.
GRAPHEME_BREAKS = "CR LF Control Extend ZWJ Regional_Indicator Prepend SpacingMark L V T".split()
LAST_CLASS = "\u0345"  # combining class 240, its only member: everything that reorders moves before it


def ranges(code_points):
    """Sorted code points as closed [first, last] ranges."""
    out = []
    for c in code_points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def bert(**on):
    flags = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**flags, **on}).normalize_str


def decompositions():
    """Code point -> (first, second) such that expanding `first` again gives the package's whole NFD; second 0: none."""
    nfd = normalizers.NFD().normalize_str
    full = {c: nfd(chr(c)) for c in CODE_POINTS if c not in HANGUL}
    full = {c: text for c, text in full.items() if text != chr(c)}
    whole = {text: c for c, text in full.items()}
    pairs = {}
    for c, text in full.items():
        if len(text) == 1:
            pairs[c] = (ord(text), 0)
        else:
            pairs[c] = (ord(text[0]) if len(text) == 2 else whole[text[:-1]], ord(text[-1]))

    def expand(c):
        if c not in pairs:
            return chr(c)
        first, second = pairs[c]
        return expand(first) + (chr(second) if second else "")

    assert all(expand(c) == text for c, text in full.items())
    return pairs


def compositions(pairs):
    """(first, second, composed) of the pairs that the package's NFC puts together; `first` may be a singleton's twin."""
    nfc = normalizers.NFC().normalize_str
    whole = [(ord(nfc(chr(first))[0]), second, c) for c, (first, second) in pairs.items() if second]
    return sorted(row for row in whole if nfc(chr(row[0]) + chr(row[1])) == chr(row[2]))


def compatibility():
    """([code point, offset, length] rows, text): whole NFKD of the code points where it is not the NFD."""
    nfd, nfkd = normalizers.NFD().normalize_str, normalizers.NFKD().normalize_str
    rows, text = [], []
    for c in CODE_POINTS:
        if (full := nfkd(chr(c))) != nfd(chr(c)):
            rows.append((c, len(text), len(full)))
            text += map(ord, full)
    return rows, text


def matches(pattern):
    """Code points that the package's regular expressions match, as ranges."""
    split = pre_tokenizers.Split(Regex(f"{pattern}+"), "removed", invert=True)
    spans = [span for _, span in split.pre_tokenize_str(EVERYTHING)]
    return ranges(c for start, end in spans for c in CODE_POINTS[start:end])


def categories():
    """[first, last, category] as the package's regular expressions have it."""
    out = [(first, last, i) for i, name in enumerate(CATEGORIES) if i for first, last in matches(rf"\p{{{name}}}")]
    assert matches(r"\s") == ranges(sorted(properties()["kWhiteSpace"])), "a second notion of white space"
    return sorted(out)


def found_by_regex(names, form):
    """[first, last, index of the name from 1] by the `regex` package."""
    out = []
    for i, name in enumerate(names, start=1):
        for match in regex.finditer(form.format(name) + "+", EVERYTHING):
            out += [(first, last, i) for first, last in ranges(map(ord, match.group()))]
    return sorted(out)


def combining_classes(decomposed):
    """[first, last, class] ranges of the code points the package's NFD reorders."""
    nfd = normalizers.NFD().normalize_str
    moved = [c for c in CODE_POINTS if c not in decomposed and nfd(LAST_CLASS + chr(c))[0] != LAST_CLASS]
    moved = sorted(moved + [ord(LAST_CLASS)])
    out = []
    for c in moved:
        ccc = unicodedata.combining(chr(c))
        assert ccc != 0, f"U+{c:04X} reorders, but Python {unicodedata.unidata_version} has no class for it"
        if out and out[-1][1] == c - 1 and out[-1][2] == ccc:
            out[-1][1] = c
        else:
            out.append([c, c, ccc])
    return out


def lowercase():
    """([first, last, stride, delta] ranges of one-to-one maps, the one code point with a longer map excepted)."""
    lower = bert(lowercase=True)
    pairs = [(c, lower(chr(c))) for c in CODE_POINTS]
    pairs = [(c, text) for c, text in pairs if text != chr(c)]
    assert [(c, text) for c, text in pairs if len(text) != 1] == [(0x130, "i\u0307")]
    out = []
    for c, text in pairs:
        if c == 0x130:
            continue
        delta = ord(text) - c
        last = out[-1] if out else None
        if last and last[3] == delta and last[0] == last[1] and c - last[1] <= 2:
            last[1], last[2] = c, c - last[1]
        elif last and last[3] == delta and c - last[1] == last[2]:
            last[1] = c
        else:
            out.append([c, c, 1, delta])
    return out


def added_token_probe(**flags):
    """Encodes texts with nothing but the added token `x` and an unknown token, ids 1 and 0."""
    token = dict(id=1, content="x", single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    model = dict(type="WordPiece", unk_token="?", continuing_subword_prefix="##", max_input_chars_per_word=9,
                 vocab={"?": 0})
    probe = Tokenizer.from_str(json.dumps(dict(added_tokens=[{**token, **flags}], model=model)))
    return [e.ids for e in probe.encode_batch([chr(c) + "x" for c in CODE_POINTS])]


def properties():
    """Name -> ranges of the code points that have the property."""
    clean, strip = bert(clean_text=True), bert(strip_accents=True)
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    nfd = normalizers.NFD().normalize_str
    accents = normalizers.StripAccents().normalize_str
    digits = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("a".join(EVERYTHING))
    cleaned = [(c, clean(chr(c))) for c in CODE_POINTS]
    pieces = [(c, [word for word, _ in split("a" + chr(c) + "a")]) for c in CODE_POINTS]
    spaces = [c for c, words in pieces if words == ["a", "a"]]
    word = [c for c, ids in zip(CODE_POINTS, added_token_probe(single_word=True)) if 1 not in ids]
    swallowed = [c for c, ids in zip(CODE_POINTS, added_token_probe(lstrip=True)) if ids == [1]]
    assert swallowed == spaces, "the package has two notions of white space"
    assert all(c in spaces for c, text in cleaned if text == " ")
    return {
        "kRemovedByClean": [c for c, text in cleaned if text == ""],
        "kWhiteSpace": spaces,
        "kBertPunctuation": [c for c, words in pieces if words == ["a", chr(c), "a"]],
        "kNonspacingMarks": [c for c in CODE_POINTS if strip(chr(c)) == "" and nfd(chr(c)) == chr(c)],
        "kCombiningMarks": [c for c in CODE_POINTS if accents(chr(c)) == ""],
        "kNumeric": [ord(word) for word, _ in digits if len(word) == 1 and word != "a"],
        "kWordCharacters": [c for c in word if c != ord("x")] + [ord("x")],
    }


def rows(items, form):
    """The initialisers, as many as fit a line of 120 columns."""
    lines, line = [], "   "
    for item in items:
        text = f" {form(item)}," if isinstance(item, int) else " {" + ", ".join(map(form, item)) + "},"
        if len(line) + len(text) > 120:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join(lines + [line])


def table(kind, name, items, form=lambda value: f"0x{value:X}"):
    return (f"constexpr {kind} {name}Rows[] = {{\n{rows(items, form)}\n}};\n"
            f"const std::span<const {kind}> {name}({name}Rows);\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--out", default=os.path.join(here, "..", "peft", "text", "unicode_tables.cc"))
    args = parser.parse_args()
    if regex.match(r"\p{GCB=Extend}", "\u05C8"):  # assigned by Unicode 18
        parser.error("the regex package has a later Unicode than 17, want the release of scripts/requirements.txt")
    pairs = decompositions()
    parts = [table("CodePointRange", name, ranges(sorted(points))) for name, points in properties().items()]
    parts.append(table("CombiningRange", "kCombiningClasses", combining_classes(set(pairs) | set(HANGUL))))
    signed = lambda value: str(value) if abs(value) < 0x100000 and value < 256 else f"0x{value:X}"
    parts.append(table("LowercaseRange", "kLowercase", lowercase(), signed))
    parts.append(table("Decomposition", "kDecompositions", [(c, *pair) for c, pair in sorted(pairs.items())]))
    compatible, compatible_text = compatibility()
    parts.append(table("Composition", "kCompositions", compositions(pairs)))
    parts.append(table("CompatibilityRow", "kCompatibility", compatible))
    parts.append(table("char32_t", "kCompatibilityText", compatible_text))
    parts.append(table("CategoryRange", "kCategories", categories()))
    parts.append(table("GraphemeRange", "kGraphemeBreaks", found_by_regex(GRAPHEME_BREAKS, r"\p{{GCB={}}}")))
    parts.append(table("CodePointRange", "kPictographs", [r[:2] for r in found_by_regex(["ExtPict"], r"\p{{{}}}")]))
    parts.append(table("ConjunctRange", "kConjuncts", found_by_regex(["Linker", "Consonant"], r"\p{{InCB={}}}")))
    with open(args.out, "w", encoding="ascii") as handle:
        handle.write(f"// Made by scripts/make_unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.\n"
                     '#include "peft/text/unicode_tables.h"\n\nnamespace fedpeft::text {\n// clang-format off\n\n'
                     + "\n".join(parts) + "\n// clang-format on\n}  // namespace fedpeft::text\n")


if __name__ == "__main__":
    main()
