"""Small tokenizers of every kind that base models have, trained with the `tokenizers` package on given texts."""
import io

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                  r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPACE = "\u2581"
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def wordpiece(texts, size, lowercase):
    out = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    out.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    out.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    out.decoder = decoders.WordPiece()
    out.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=BERT_SPECIAL,
                                                             show_progress=False))
    out.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return out


def byte_level_bpe(texts, size, special, pre_tokenizer, **settings):
    out = Tokenizer(models.BPE(**settings))
    out.pre_tokenizer = pre_tokenizer
    out.decoder = decoders.ByteLevel()
    out.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=special,
        show_progress=False))
    return out


def gpt2(texts, size):
    out = byte_level_bpe(texts, size, ["<|endoftext|>"], pre_tokenizers.ByteLevel(add_prefix_space=False))
    out.post_processor = processors.ByteLevel(trim_offsets=False)
    return out


def roberta(texts, size):
    out = byte_level_bpe(texts, size, ROBERTA_SPECIAL, pre_tokenizers.ByteLevel(add_prefix_space=True))
    out.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return out


def llama3(texts, size):
    stages = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"),
                                      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    out = byte_level_bpe(texts, size, ["<|begin_of_text|>", "<|eot_id|>"], stages, ignore_merges=True)
    out.normalizer = normalizers.NFC()
    template = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
        special_tokens=[("<|begin_of_text|>", 0)])
    out.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return out


def llama2(texts, size):
    """Trained on words, used without a pre-tokenizer, as the files are."""
    out = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    out.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    out.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    out.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    out.pre_tokenizer = None
    out.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    out.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                                       special_tokens=[("<s>", 1)])
    return out


def fields(message):
    """(number, bytes) of the length-delimited fields of a protobuf message, and None for others."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        size = {0: 0, 1: 8, 5: 4}.get(key & 7)
        size = varint() if size is None else size
        if key & 7 == 0:
            varint()
        yield key >> 3, message[at:at + size] if key & 7 == 2 else None
        at += size


def charsmap(rule):
    """SentencePiece's own table of a normalization rule, taken from a model that it trains."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c d e f g"] * 20), model_writer=model,
                                             model_type="char", vocab_size=8, hard_vocab_limit=False,
                                             normalization_rule_name=rule, minloglevel=2)
    spec = next(value for number, value in fields(model.getvalue()) if number == 3)  # normalizer_spec
    return next(value for number, value in fields(spec) if number == 2)  # precompiled_charsmap


def unigram(texts, size, rule, special, pre_tokenizer, template):
    out = Tokenizer(models.Unigram())
    out.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(rule)),
                                           normalizers.Replace(Regex(" {2,}"), " ")])
    out.pre_tokenizer = pre_tokenizer
    out.decoder = decoders.Metaspace()
    out.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>",
                                                           show_progress=False))
    ids = [(token, out.token_to_id(token)) for token in special]
    out.post_processor = processors.TemplateProcessing(**template, special_tokens=ids)
    return out


def t5(texts, size):
    return unigram(texts, size, "nmt_nfkc", ["<pad>", "</s>", "<unk>"], pre_tokenizers.Metaspace(prepend_scheme="first"),
                   dict(single="$A </s>", pair="$A </s> $B </s>"))


def xlm_roberta(texts, size):
    stages = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return unigram(texts, size, "nmt_nfkc_cf", ["<s>", "<pad>", "</s>", "<unk>"], stages,
                   dict(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>"))


def unigram_with_ties():
    """Runs of a character, which can be cut in many ways of the same score but for the last bit of the sum."""
    scores = [(-0.45746392006127756, -0.569992925457787), (-3.510444644432181, -3.7428311210100125),
              (-1.5148490654821862, -1.9920465621612493), (-3.51063236932617, -3.9015523685488165)]
    pieces = [("<unk>", 0.0)]
    for character, (one, two) in zip("-=_~", scores, strict=True):
        pieces += [(character, one), (2 * character, two)]
    return Tokenizer(models.Unigram(pieces, unk_id=0))


def kinds(texts, size=2000):
    """Name -> tokenizer.json."""
    made = {
        "WordPiece uncased": wordpiece(texts, size, lowercase=True),
        "WordPiece cased": wordpiece(texts, size, lowercase=False),
        "GPT-2 (byte-level BPE)": gpt2(texts, size),
        "RoBERTa (byte-level BPE, pairs)": roberta(texts, size),
        "Llama-3 (Split, ignore_merges)": llama3(texts, size),
        "Llama-2 (byte-fallback BPE)": llama2(texts, size),
        "T5 (Unigram, nmt_nfkc)": t5(texts, size),
        "XLM-R (Unigram, nmt_nfkc_cf)": xlm_roberta(texts, size),
        "Unigram with ties": unigram_with_ties(),
    }
    return {name: tokenizer.to_str() for name, tokenizer in made.items()}
