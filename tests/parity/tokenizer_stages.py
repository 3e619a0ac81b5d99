"""A tokenizer.json with one stage after the other put in: all that no trained kind of tokenizer_kinds.py uses."""
import copy

BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
SPACES = {"type": "WhitespaceSplit"}


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}


def changes():
    """Name -> the parts that replace those of the file."""
    def split(pattern, behavior, invert=False):
        return dict(pre_tokenizer={"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert})

    out = {}
    for behavior in BEHAVIORS:
        out[f"Punctuation {behavior}"] = dict(pre_tokenizer={"type": "Punctuation", "behavior": behavior})
        out[f"Split by a text, {behavior}"] = split({"String": "a"}, behavior)
        out[f"Split by an expression, {behavior}"] = split({"Regex": r"[^\s\p{P}]+\s?"}, behavior)
        out[f"Split inverted, {behavior}"] = split({"Regex": r"\p{L}+|\p{N}"}, behavior, True)
    for individual in (False, True):
        out[f"Digits {individual}"] = dict(pre_tokenizer={"type": "Digits", "individual_digits": individual})
    for name in ("Whitespace", "WhitespaceSplit"):
        out[name] = dict(pre_tokenizer={"type": name})
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "StripAccents", "Lowercase"):
        out[name] = dict(normalizer={"type": name}, pre_tokenizer=SPACES)
    for name, normalizer in {
        "Strip": {"type": "Strip", "strip_left": True, "strip_right": True},
        "Nmt, StripAccents": {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "StripAccents"}]},
        "Replace": {"type": "Replace", "pattern": {"Regex": "[a-c]{2,}| +"}, "content": " "},
    }.items():
        out[f"{name} before Metaspace first"] = dict(normalizer=normalizer, pre_tokenizer=metaspace("first"),
                                                     decoder=metaspace("first"))
    out["Metaspace never, whole"] = dict(pre_tokenizer=metaspace("never", False), decoder=metaspace("never"))
    out["BPEDecoder"] = dict(decoder={"type": "BPEDecoder", "suffix": "e"})
    strip = {"type": "Strip", "content": "e", "start": 1, "stop": 0}
    out["Strip and Fuse"] = dict(decoder={"type": "Sequence", "decoders": [strip, {"type": "Fuse"}]})
    return out


def stages(document):
    """Name -> tokenizer.json, as an object, of the WordPiece tokenizer with each of the changes."""
    out = {}
    for name, parts in changes().items():
        changed = copy.deepcopy(document)
        changed.update(parts)
        vocabulary = changed["model"]["vocab"]
        for token in ("\u2581", "\u2581the", "##\u2581"):
            vocabulary.setdefault(token, len(vocabulary))
        out[name] = changed
    return out
