#!/usr/bin/env python3
"""WordNet as text classification: CSV files of `text,label` with a fixed, seeded split.

The text is a synset's gloss before its quoted examples; the label is its lexicographer file (noun.animal,
verb.motion, ... 45 of them). A gloss that several synsets share is kept once, and not at all when they disagree on the
label, so no test text is ever trained on.

Writes train.csv, test.csv and labels.txt (the 45 labels in WordNet's order, whether they occur or not) to --out. The
order of the texts depends on --seed alone (SHA-256 of seed and text): test rows come first in it, training rows after
them, so that another --train-size leaves the test rows as they are.
"""
import argparse
import collections
import csv
import hashlib
import pathlib
import sys

# Lexicographer files by number (lexnames(5WN)).
LABELS = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)
PARTS = ("noun", "verb", "adj", "adv")


def definition(gloss):
    """The gloss up to its first quoted example, on one line."""
    return " ".join(gloss.partition('"')[0].split()).rstrip(";:, (")


def read_synsets(folder):
    """Yields (text, label) of every synset that has a definition."""
    for part in PARTS:
        path = folder / f"data.{part}"
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.startswith("  "):  # the licence
                    continue
                fields, bar, gloss = line.partition(" | ")
                words = fields.split()
                if not bar or len(words) < 4 or not words[1].isdigit() or int(words[1]) >= len(LABELS):
                    sys.exit(f"{path}:{number}: got no synset line, want 'offset file-number type ... | gloss'")
                text = definition(gloss)
                if text:
                    yield text, LABELS[int(words[1])]


def unambiguous(synsets):
    """Text -> label without the texts that have two labels."""
    labels = {}
    for text, label in synsets:
        labels.setdefault(text, set()).add(label)
    return {text: next(iter(found)) for text, found in labels.items() if len(found) == 1}


def split(label_of, seed, test_size, train_size):
    """(train, test): lists of (text, label), disjoint; train_size None means all that is left."""
    order = sorted(label_of, key=lambda text: hashlib.sha256(f"{seed}\0{text}".encode()).digest())
    if test_size + (train_size or 1) > len(order):
        sys.exit(f"--test-size {test_size}, --train-size {train_size}: got more than the {len(order)} texts there are")
    end = len(order) if train_size is None else test_size + train_size
    rows = [(text, label_of[text]) for text in order[:end]]
    return rows[test_size:], rows[:test_size]


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def summary(name, rows):
    counts = collections.Counter(label for _, label in rows).most_common()
    if not counts:
        return f"{name}: empty"
    (most, most_count), (least, least_count) = counts[0], counts[-1]
    return (f"{name}: {len(rows)} rows, {len(counts)} of {len(LABELS)} labels, most {most} ({most_count / len(rows):.1%}), "
            f"least {least} ({least_count})")


def size(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"got {value}, want 0 or more")
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=pathlib.Path, default="/usr/share/wordnet", metavar="DIR",
                        help="the folder with data.noun, data.verb, data.adj, data.adv (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR", help="where the files go")
    parser.add_argument("--train-size", type=size, metavar="N", help="training rows (default: all that are left)")
    parser.add_argument("--test-size", type=size, metavar="N", default=2000, help="test rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (default: %(default)s)")
    arguments = parser.parse_args()

    for part in PARTS:
        if not (arguments.wordnet / f"data.{part}").is_file():
            sys.exit(f"{arguments.wordnet}/data.{part}: not found (Debian package wordnet-base, or --wordnet DIR)")
    label_of = unambiguous(read_synsets(arguments.wordnet))
    if (missing := set(LABELS) - set(label_of.values())):
        sys.exit(f"{arguments.wordnet}: no text with the labels {', '.join(sorted(missing))}, want all {len(LABELS)}")
    train, test = split(label_of, arguments.seed, arguments.test_size, arguments.train_size)

    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "train.csv", train)
    write_csv(arguments.out / "test.csv", test)
    (arguments.out / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    print(summary(str(arguments.out / "train.csv"), train))
    print(summary(str(arguments.out / "test.csv"), test))


if __name__ == "__main__":
    main()
