#!/usr/bin/env python3
"""Writes tests/golden/tokenizer/: a tiny BERT-style tokenizer.json and what the `tokenizers` package makes of texts; and
the same, as NAME.json and NAME_expected.json, for small tokenizers of other kinds, trained on the same texts.

Usage: build/venv/bin/python scripts/make_tokenizer_golden.py [--out FOLDER]
"""
import argparse
import json
import os
import sys

import tokenizers
from tokenizers import Tokenizer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "parity"))
import tokenizer_kinds  # noqa: E402

AWKWARD_TEXTS = [
    "", " ", "\t\r\n", "a", "hello world", "Hello, World!", "unaffable", "unaffableunaffable", "don't do not",
    "caf\u00e9 cafe\u0301 CAF\u00c9", "na\u00efve \u00c5ngstr\u00f6m \u212b", "\u0130stanbul I\u0131 i\u0307", "\u1e9e \u00df \ufb01",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03c3\u03c2", "\u0410\u0411\u0412 \u0439 \u0438\u0306", "\u4f60\u597d\u4e16\u754c hello\u4f60", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u304c \u304b\u3099",
    "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab \uac01", "\uf900\ufa0e \U0002f800 \U00020000 \U0002b820 \U0002b920", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947 \u0928\u093c\u0929",
    "\u0645\u0631\u062d\u0628\u0627 \u0650\u0651 \u0651\u0650 \u05e9\u05c1\u05b8", "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f", "a\u00a0b\u3000c\u2009d\u2028e\u0085f\u180eg\u200bh",
    "zero\u0000one\u0007two\u00adthree\ufefffour\ufffdfive", "line\r\nline\rline\nline\u000bline\u000cline", "x" * 99, "x" * 100, "x" * 101,
    "hello" * 60, "\u00e9" * 101, "$5.00 (50%) a+b=c `x` ^y~z|w <b> \u00a7\u00b6\u00bf\u00a1 \u2014 \u201cq\u201d \u3002 \u20ac \u00d7",
    "[MASK] hello[MASK]world [mask] [CLS] [SEP]", "[UNK][PAD] [MASK][MASK]", "[[MASK]]", "a<ent>b  <ent>  c", "un glued GLUED unglued Glued  x",
    "solo asolo solo_ solo, (solo) \u00e9solo soloe\u0301 solo\u0301", "\u0378 \ue000 \U000f0000 \U0001fae9 \u0897 \u1acf \U00010d69", "\u0958 \u0f73 \u0f43 \u1e69 s\u0323\u0307 s\u0307\u0323 \u0344 \U0001d15e \U00011938",
    "q\u0345\u0323\u0301 \u302e\u0301a \u0301leading", "A\u030a\u0323 \ua64a\ua64b \u10a0\u13a0\u1c90 \u2160 \u24b6 \U00010400 \U0001e900",
]
# Hexadecimal: ill-formed UTF-8. The expected ids are those of the text with U+FFFD in its place.
INVALID_TEXTS = [
    "80", "61ff62", "c3", "61c328", "e282", "61e28262", "f09f98", "f09f9868656c6c6f", "eda080", "c080", "f8888080", "f4908080",
    "68656c6c6fe2", "e0808061", "efbfbd",
]
VOCABULARY = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
              + ["hello", "world", "un", "##aff", "##able", "##un", "##hello", "do", "not", "don", "t", "line", "naive", "cafe", "CAF\u00c9",
                 "caf\u00e9", "zero", "one", "two", "three", "four", "five", "i\u0307", "istanbul", "\u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03c5\u03c3", "\u03c3\u03c3",
                 "\u4f60", "\u597d", "\u4e16", "\u754c", "\u1112\u1161\u11ab", "\u0438", "\u304b", "mask", "solo", "##solo", "##\u0301"]
              + [chr(c) for c in range(0x21, 0x7F) if not 0x41 <= c <= 0x5A] + ["##" + chr(c) for c in range(0x61, 0x7B)]
              + list("\u00a7\u00b6\u00bf\u00a1\u2014\u201c\u201d\u3002\u20ac\u00d7\u00df\u0131\u0430\u0431\u0432\u8c48\u2764\U0001f468\U0001f44d\U0001f3fd"))
MAX_LENGTHS = (4, 5, 8)  # room for the special tokens of every kind


def added(token_id, content, **on):
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    return {"id": token_id, "content": content, **flags, **on}


def tokenizer_json():
    """The tokenizer of the golden: MiniLM's stages, a small vocabulary, and added tokens of every kind."""
    vocab = {token: i for i, token in enumerate(VOCABULARY)}
    new = len(vocab)
    special = {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")}

    def token(name, type_id):
        return {"SpecialToken": {"id": name, "type_id": type_id}}

    def text(name, type_id):
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)]
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [added(vocab[t], t, special=True) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")]
        + [added(vocab["[MASK]"], "[MASK]", special=True, lstrip=True), added(new, "<ent>", lstrip=True, rstrip=True),
           added(new + 1, "Glued", normalized=True, rstrip=True), added(vocab["solo"], "solo", single_word=True)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single,
                           "pair": single + [text("B", 1), token("[SEP]", 1)], "special_tokens": special},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    }


def cases(tokenizer):
    texts = [text.encode() for text in AWKWARD_TEXTS] + [bytes.fromhex(text) for text in INVALID_TEXTS]
    for i, raw in enumerate(texts):
        text, other = raw.decode(errors="replace"), texts[i - 1].decode(errors="replace")
        tokenizer.no_truncation()
        single, pair = tokenizer.encode(text), tokenizer.encode(text, other)
        cuts = {}
        for length in MAX_LENGTHS:
            tokenizer.enable_truncation(length)
            cuts[length] = [tokenizer.encode(text).ids, tokenizer.encode(text, other).ids]
        yield {"hex": raw.hex(), "other_hex": texts[i - 1].hex(), "ids": single.ids, "pair_ids": pair.ids,
               "pair_type_ids": pair.type_ids, "pair_special": pair.special_tokens_mask, "cut": cuts,
               "decoded": tokenizer.decode(single.ids), "decoded_special": tokenizer.decode(single.ids, False)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--out", default=os.path.join(here, "..", "tests", "golden", "tokenizer"))
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    write(args.out, "tokenizer", "expected", json.dumps(tokenizer_json(), ensure_ascii=True, indent=1))
    for name in ("roberta", "llama3", "llama2"):
        trained = json.loads(getattr(tokenizer_kinds, name)(AWKWARD_TEXTS, 420).to_str())
        write(args.out, name, f"{name}_expected", json.dumps(trained, ensure_ascii=True, separators=(",", ":")))


def write(folder, name, expected, content):
    tokenizer = Tokenizer.from_str(content)
    tokenizer.no_padding()
    with open(os.path.join(folder, f"{name}.json"), "w", encoding="ascii") as handle:
        handle.write(content + "\n")
    rows = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases(tokenizer))
    with open(os.path.join(folder, f"{expected}.json"), "w", encoding="ascii") as handle:
        handle.write(f'{{"tokenizers": "{tokenizers.__version__}", "cases": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
