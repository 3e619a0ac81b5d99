"""Small tokenizers of every kind that base models have, trained with the `tokenizers` package on given texts."""
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


def kinds(texts, size=2000):
    """Name -> tokenizer.json."""
    made = {
        "WordPiece uncased": wordpiece(texts, size, lowercase=True),
        "WordPiece cased": wordpiece(texts, size, lowercase=False),
        "GPT-2 (byte-level BPE)": gpt2(texts, size),
        "RoBERTa (byte-level BPE, pairs)": roberta(texts, size),
        "Llama-3 (Split, ignore_merges)": llama3(texts, size),
        "Llama-2 (byte-fallback BPE)": llama2(texts, size),
    }
    return {name: tokenizer.to_str() for name, tokenizer in made.items()}
