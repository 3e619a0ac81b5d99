#!/usr/bin/env python3
"""Compares fedpeft's tokenizer with the `tokenizers` package, id by id.

Every text goes through `fedpeft_tokenize` and through the package, alone and as a pair, with every truncation on both
sides, and back: a list of awkward texts, the lines of the data sets (left out, and said so, without --data or
FEDPEFT_DATA), and random Unicode strings from a fresh, printed seed; and random ids are decoded. It is done with the
given tokenizer.json, with small variants of it, and with a tokenizer of each kind that tokenizer_kinds.py trains on the
data (on the awkward texts where there is none). Each gets a slice of the texts; with --full, or FEDPEFT_FULL, all but the
variants get every text, and the stages that none of these uses (tokenizer_stages.py) have their turn too.

Usage: tokenizer_parity.py --binary build/release/tests/parity/fedpeft_tokenize --tokenizer FOLDER/tokenizer.json
(FEDPEFT_BUILD, FEDPEFT_BASE and FEDPEFT_FULL, which tests/parity/run.py sets, stand for these)
"""
import argparse
import concurrent.futures
import csv
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts"))
from make_tokenizer_golden import AWKWARD_TEXTS  # noqa: E402
from tokenizer_kinds import kinds  # noqa: E402
from tokenizer_stages import stages  # noqa: E402

ALPHABETS = [
    (0x20, 0x7E), (0x0, 0x2FF), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xFFF), (0x1000, 0x1FFF),
    (0x2000, 0x2FFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xFFFF), (0x10000, 0x11FFF),
    (0x16000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x20000, 0x2FFFF), (0xE0000, 0xE01FF), (0x10FF00, 0x10FFFF),
]
# A no-break space becomes a space together with all that joins its grapheme cluster: this compares who joins.
CLUSTERS = ["".join(f"\u00a0{chr(c)}" for c in range(start, start + 256)) for start in range(0, 0x10000, 256)
            if not 0xD800 <= start < 0xE000]
SLICE = 200  # texts that a tokenizer is given in all ways, without --full
WORDS = ["card", "payment", "Transfer", "[MASK]", "[CLS]", "[SEP]", "naïve", "<ent>", "Glued", "ÉTÉ", "\u0345", "\u0301", "don't", "I'LL",
         "'\u017f", "1234567", "  two", "\n\n", "<s>", "</s>", "<unk>", "<mask>", "<|endoftext|>", "\u2581", "<0x41>", "ﬁ", "ｶﾞ",
         "-----", "=======", "_______", "~~~~~~~", "①", "e\u0301", "ｱ", "\u00a0", "…", "™", "한국", "日本"]


def random_text(rng):
    out = []
    for _ in range(rng.randrange(0, 12)):
        kind = rng.random()
        if kind < 0.3:
            out.append(rng.choice(WORDS))
        elif kind < 0.4:
            out.append(rng.choice([" ", "  ", "\t", "\u00a0", "\u3000", "\r\n", "\u200d"]))
        else:
            low, high = rng.choice(ALPHABETS)
            out += [chr(rng.randint(low, high)) for _ in range(rng.randrange(1, 6))]
    return "".join(c for c in "".join(out) if not 0xD800 <= ord(c) < 0xE000)


def data_texts(folder):
    """Every line, or text field, of the data sets that the folder has."""
    root, texts = pathlib.Path(folder), []
    for name in ("banking77/train.csv", "banking77/test.csv"):
        with open(root / name, newline="", encoding="utf-8") as handle:
            texts += [row["text"] for row in csv.DictReader(handle)]
    for name in ("sst2/*.tsv", "wikitext2/*.txt", "shakespeare/*.txt"):
        for path in sorted(root.glob(name)):
            texts += path.read_text(encoding="utf-8").split("\n")
    for path in sorted(root.glob("gsm8k/*.jsonl")):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        texts += [text for row in rows for text in row.values()]
    for path in sorted(root.glob("codealpaca/*.json")):
        texts += [text for row in json.loads(path.read_text(encoding="utf-8")) for text in row.values() if text]
    return texts


def variants(path):
    """Name -> tokenizer.json text: the file itself and neighbours that use every built-in stage and switch."""
    with open(path, encoding="utf-8") as handle:
        base = json.load(handle)

    def but(name, edit):
        copy = json.loads(json.dumps(base))
        edit(copy)
        return name, json.dumps(copy)

    def switch(**flags):
        return lambda d: d["normalizer"].update(flags)

    def add_tokens(d):
        flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
        extra = [("<ent>", dict(lstrip=True)), ("Glued", dict(normalized=True, rstrip=True)),
                 ("ÉTÉ", dict(normalized=True, single_word=True)), ("payment", dict(single_word=True)),
                 ("pay", dict()), (" card", dict(rstrip=True)), ("\u4e00", dict(special=True))]
        ids = dict(d["model"]["vocab"])
        for content, on in extra:
            ids.setdefault(content, len(ids))
            d["added_tokens"].append({"id": ids[content], "content": content, **flags, **on})

    def bert_processing(d):
        vocab = d["model"]["vocab"]
        d["post_processor"] = dict(type="BertProcessing", sep=["[SEP]", vocab["[SEP]"]], cls=["[CLS]", vocab["[CLS]"]])

    return dict([
        but("as it is", lambda d: None),
        but("cased", switch(lowercase=False)),
        but("accents kept", switch(strip_accents=False)),
        but("cased, accents stripped", switch(lowercase=False, strip_accents=True)),
        but("nothing cleaned", switch(clean_text=False, handle_chinese_chars=False)),
        but("no normalizer", lambda d: d.update(normalizer=None)),
        but("no pre-tokenizer", lambda d: d.update(pre_tokenizer=None)),
        but("added tokens", add_tokens),
        but("short words", lambda d: d["model"].update(max_input_chars_per_word=5)),
        but("BertProcessing", bert_processing),
        but("no post-processor", lambda d: d.update(post_processor=None)),
    ])


def requests_for(texts, rng, with_pairs):
    strategies = ["longest_first", "only_first", "only_second"]
    for text in texts:
        yield dict(a=text)
        if not with_pairs:
            continue
        other = rng.choice(texts)
        yield dict(a=text, b=other)
        yield dict(a=text, max_length=rng.randrange(2, 12), truncate_left=rng.random() < 0.5)
        for strategy in strategies:
            yield dict(a=text, b=other, max_length=rng.randrange(4, 24), truncation=strategy,
                       truncate_left=rng.random() < 0.5)
        yield dict(a=text, b=other, add_special_tokens=False)


def reference(tokenizer, request):
    if "max_length" in request:
        tokenizer.enable_truncation(request["max_length"], strategy=request.get("truncation", "longest_first"),
                                    direction="left" if request["truncate_left"] else "right")
    else:
        tokenizer.no_truncation()
    try:
        e = tokenizer.encode(request["a"], request.get("b"), add_special_tokens=request.get("add_special_tokens", True))
    except Exception as error:  # the package raises a bare Exception
        return {"error": str(error)}
    return {"ids": e.ids, "type_ids": e.type_ids, "special": e.special_tokens_mask}


def decode_requests(answers, vocab_size, rng):
    """The ids of the answers, and as many lists of random ids."""
    for answer in answers:
        for ids in (answer.get("ids"), [rng.randrange(vocab_size + 2) for _ in range(rng.randrange(8))]):
            if ids is not None:
                yield dict(decode=ids, skip_special_tokens=rng.random() < 0.5)


def run(binary, path, requests):
    def line(request):
        hexed = {k: request[k].encode().hex() for k in ("a", "b") if k in request}
        return json.dumps({**request, **hexed, "hex": True})

    done = subprocess.run([binary, path], input="\n".join(map(line, requests)) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{binary}: {done.stderr}")
    return [json.loads(answer) for answer in done.stdout.rstrip("\n").split("\n")]  # not at U+2028


def compare(name, binary, content, requests, rng):
    """Prints a line for the variant; returns the number of differences."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as handle:
        handle.write(content)
        handle.flush()
        tokenizer = Tokenizer.from_str(content)
        tokenizer.no_padding()
        answers = run(binary, handle.name, requests)
        decodes = list(decode_requests(answers, tokenizer.get_vocab_size(), rng))
        texts = run(binary, handle.name, decodes)
    bad = []
    for request, answer in zip(requests, answers, strict=True):
        want = reference(tokenizer, request)
        if ("error" in want) != ("error" in answer) or ("ids" in want and want != answer):
            bad.append((request, want, answer))
    for request, answer in zip(decodes, texts, strict=True):
        want = tokenizer.decode(request["decode"], skip_special_tokens=request["skip_special_tokens"])
        if want != answer["text"]:
            bad.append((request, want, answer["text"]))
    print(f"{name}: {len(requests)} encodings, {len(decodes)} decodings, {len(bad)} differ", flush=True)
    for request, want, answer in bad[:3]:
        print(f"  {request!r}\n    want {want}\n    got  {answer}")
    return len(bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build, base = os.environ.get("FEDPEFT_BUILD"), os.environ.get("FEDPEFT_BASE")
    parser.add_argument("--binary", default=build and f"{build}/tests/parity/fedpeft_tokenize", required=not build)
    parser.add_argument("--tokenizer", default=base and f"{base}/tokenizer.json", required=not base,
                        help="a BERT-family tokenizer.json")
    parser.add_argument("--data", default=os.environ.get("FEDPEFT_DATA"), help="folder with banking77/, sst2/, …")
    parser.add_argument("--full", action="store_true", default=bool(os.environ.get("FEDPEFT_FULL")))
    parser.add_argument("--random", type=int, default=20000, help="random strings")
    parser.add_argument("--only", default="", help="only tokenizers with this in their name")
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    fuzzed = [random_text(rng) for _ in range(args.random)]
    data = data_texts(args.data) if args.data else []
    if not args.data:
        print("The data sets are left out: give --data or FEDPEFT_DATA")
    training = rng.sample(data, min(len(data), 5000)) or AWKWARD_TEXTS * 10

    given = {f"MiniLM, {name}": content for name, content in variants(args.tokenizer).items()}
    tokenizers = {name: content for name, content in {**given, **kinds(training)}.items() if args.only in name}
    if args.full:
        with open(args.tokenizer, encoding="utf-8") as handle:
            small = {f"stage {name}": json.dumps(content) for name, content in stages(json.load(handle)).items()}
        small = {name: content for name, content in small.items() if args.only in name}
    else:
        small = {}
    jobs = []  # name, content, requests
    for i, (name, content) in enumerate(tokenizers.items()):
        whole = args.full and (name not in given or name == "MiniLM, as it is")
        share = len(fuzzed) if whole else len(fuzzed) // len(tokenizers)
        texts = AWKWARD_TEXTS + [fuzzed[(i * share + k) % len(fuzzed)] for k in range(share)]
        requests = list(requests_for(texts if whole else texts[:SLICE], rng, with_pairs=True))
        requests += requests_for(texts[SLICE:], rng, with_pairs=False)
        if "Unigram" in name:
            requests += requests_for(CLUSTERS, rng, with_pairs=False)
        lines = data if whole else rng.sample(data, min(len(data), SLICE))
        requests += requests_for(lines, rng, with_pairs=False)
        requests += requests_for(rng.sample(data, min(len(data), SLICE // 2)), rng, with_pairs=True)
        jobs.append((name, content, requests))
    for name, content in small.items():
        texts = AWKWARD_TEXTS + rng.sample(fuzzed, min(len(fuzzed), 1000))
        jobs.append((name, content, list(requests_for(texts, rng, with_pairs=False))))
    with concurrent.futures.ProcessPoolExecutor() as pool:
        running = [pool.submit(compare, name, args.binary, content, requests, random.Random(rng.randrange(1 << 32)))
                   for name, content, requests in jobs]
        bad = sum(job.result() for job in running)
    print(f"{len(jobs)} tokenizers, {bad} differences")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
