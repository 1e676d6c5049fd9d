"""Ids to text. Oracles: cases worked out by hand; FunASR's own sentence_postprocess, run in a process of its own
because importing funasr prints and warns; the sentencepiece library for vocabularies of pieces."""

import io
import json
import random
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.config.parts import TokenizerConfig
from mlx_model.errors import AssetError, ConfigError
from mlx_model.text.tokenizer import Tokenizer, join_pieces, join_tokens
from tests import forked

SHARED = Path(__file__).resolve().parents[4] / "shared"
SPECIAL = {"blank_id": 0, "sos": 1, "eos": 2}
CHAR, PIECES = TokenizerConfig(), TokenizerConfig(kind="SentencepiecesTokenizer")

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared (released vocabularies) is absent")
needs_funasr = pytest.mark.skipif(find_spec("funasr") is None, reason="funasr is absent: pip install .[reference]")

HAND = [
    ([], ""),
    (["<unk>"], ""),
    (["你", "好"], "你好"),
    (["你", "<unk>", "好", "</s>"], "你好"),
    (["1", "2", "年"], "12年"),
    (["hello", "world"], "hello world"),
    (["hel@@", "lo", "world"], "hello world"),
    (["我", "hel@@", "lo"], "我hello"),
    (["hello", "我", "world", "好"], "hello我world好"),
    (["that's", "good"], "that's good"),
    (["a", "b", "c"], "ABC"),
    (["i", "b", "m", "公", "司"], "IBM公司"),
    (["good", "a", "b"], "good AB"),
    (["a", "bc", "d"], "a bc d"),
    (["a", "我", "b"], "a我b"),
    (["我", "hel@@"], "我"),  # an unfinished piece is lost
    (["hel@@"], ""),
    (["hel@@", "我", "lo"], "我hello"),  # or waits for the next word
    (["3@@", "年"], "3@@年"),  # a digit piece counts as Chinese and keeps its mark
    (["9@@", "年"], "9@@年"),  # 9@@ does too, by way of its characters (as a whole it sorts after "9")
    (["hi", "&", "我"], "hi 我"),  # the symbol is removed in place of the space
    (["hi", "&", "you"], "hi &you"),
    (["<space>", "我"], "<space>我"),  # FunASR never turns it into a space
    (["4.5"], "4.5"),
    (["4.5", "hi"], "4.5hi"),
]


@pytest.mark.parametrize(("tokens", "text"), HAND)
def test_join_tokens_by_hand(tokens, text):
    assert join_tokens(tokens) == text


def test_decode_drops_the_special_ids_before_joining():
    tokenizer = Tokenizer(["<blank>", "<s>", "</s>", "你", "a", "<unk>"], CHAR, **SPECIAL)
    assert tokenizer.decode([1, 3, 0, 4, 5, 4, 2]) == "你AA"
    assert tokenizer.decode([]) == ""
    assert len(tokenizer) == 6


@pytest.mark.parametrize("token_id", [-1, 4])
def test_an_id_outside_the_vocabulary_is_an_error(token_id):
    tokenizer = Tokenizer(["<blank>", "<s>", "</s>", "<unk>"], CHAR, **SPECIAL)
    with pytest.raises(AssetError, match=rf"token id {token_id} is outside the vocabulary of 4 tokens"):
        tokenizer.decode([token_id])


def test_an_unknown_tokenizer_class_is_an_error():
    with pytest.raises(ConfigError, match="WhisperTokenizer"):
        Tokenizer(["<unk>"], TokenizerConfig(kind="WhisperTokenizer"), **SPECIAL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not JSON"),
        ("\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"<unk>": 0}', "expected a list of tokens in id order, found dict"),
        ("[]", "found an empty list"),
        ('["<unk>", 3]', "token 1 is 3, expected a string"),
        ('["<unk>", "a", "a"]', "token 'a' appears twice, as 1 and 2"),
        ('["a", "b"]', "unk_symbol '<unk>' is not in the vocabulary of 2 tokens"),
    ],
)
def test_malformed_vocabularies_are_one_line_with_the_path(tmp_path, content, message):
    path = tmp_path / "tokens.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AssetError) as caught:
        Tokenizer.from_file(path, CHAR, **SPECIAL)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text


def test_a_missing_vocabulary_and_a_folder_are_errors(tmp_path):
    for path in (tmp_path / "tokens.json", tmp_path):
        with pytest.raises(AssetError, match="cannot be read"):
            Tokenizer.from_file(path, CHAR, **SPECIAL)


def test_from_file_reads_the_list_in_id_order(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(["<blank>", "<s>", "</s>", "北", "京", "<unk>"]), encoding="utf-8")
    assert Tokenizer.from_file(path, CHAR, **SPECIAL).decode([3, 4]) == "北京"


@given(st.lists(st.text(alphabet="我你好中", min_size=1, max_size=1)))
def test_chinese_is_the_concatenation(tokens):
    assert join_tokens(tokens) == "".join(tokens)


@given(st.lists(st.text(alphabet="abcxyz", min_size=2, max_size=6), min_size=1))
def test_words_of_two_letters_or_more_are_joined_by_one_space(words):
    assert join_tokens(words) == " ".join(words)
    assert join_tokens([piece for word in words for piece in (word[:1] + "@@", word[1:])]) == " ".join(words)


ORACLE = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()):
    from funasr.utils.postprocess_utils import sentence_postprocess
json.dump([sentence_postprocess(tokens)[0] for tokens in json.load(sys.stdin)], sys.stdout)
"""


def funasr_texts(sequences: list[list[str]]) -> list[str]:
    command = [forked.python("funasr"), "-c", ORACLE]
    done = subprocess.run(
        command, input=json.dumps(sequences), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def assert_same_as_funasr(sequences: list[list[str]]) -> None:
    differing = [
        (tokens, join_tokens(tokens), text)
        for tokens, text in zip(sequences, funasr_texts(sequences), strict=True)
        if join_tokens(tokens) != text
    ]
    assert differing == []


@pytest.mark.slow
@pytest.mark.reference
@needs_funasr
def test_hand_cases_and_arbitrary_tokens_read_as_in_funasr():
    # Built from the parts that FunASR looks at, so that every branch and its borders are reached many times.
    parts = [*"@' abZé09.&我鿿㐀-▁", "@@", "<unk>", "<s>", "</s>", "<OOV>"]
    chance = random.Random(7)
    arbitrary = [
        ["".join(chance.choices(parts, k=chance.choice([0, 1, 1, 1, 2, 3]))) for _ in range(chance.randint(0, 9))]
        for _ in range(20_000)
    ]
    solid = [[chance.choice(["a", "b", "ab", "é", "'"]) for _ in range(chance.randint(1, 8))] for _ in range(5_000)]
    assert_same_as_funasr([list(tokens) for tokens, _ in HAND] + arbitrary + solid)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.reference
@needs_shared
@needs_funasr
@pytest.mark.parametrize("model", ["paraformer_large_zh", "paraformer_small"])
def test_random_sentences_of_released_vocabularies_read_as_in_funasr(model):
    tokens = json.loads((SHARED / "sidecars" / model / "tokens.json").read_text(encoding="utf-8"))
    chinese = [token for token in tokens if "\u4e00" <= token <= "\u9fff"]
    letters = [token for token in tokens if len(token) == 1 and token.isascii()]
    others = [token for token in tokens if token not in set(chinese)]
    chance = random.Random(11)
    sequences = [
        [chance.choice(chance.choice(pools)) for _ in range(chance.randint(1, 15))]
        for pools in ([tokens], [others], [chinese, others], [letters], [letters, others], [chinese, letters])
        for _ in range(3_000)
    ]
    assert_same_as_funasr(sequences)


def test_join_pieces_by_hand():
    assert join_pieces([]) == ""
    assert join_pieces(["▁hel", "lo", "▁world"]) == "hello world"
    assert join_pieces(["▁", "▁", "▁the", "▁", "▁s"]) == "the  s"
    assert join_pieces(["▁a", "<unk>", "<s>", "b"]) == "a ⁇ b"
    assert join_pieces(["<0xE6>", "<0x88>", "<0x91>", "▁a"]) == "我 a"
    assert join_pieces(["<0xE6>", "<0x88>", "a"]) == "\ufffd\ufffda"
    tokenizer = Tokenizer(["<unk>", "<s>", "</s>", "▁hi", "▁you"], PIECES, **SPECIAL)
    assert tokenizer.decode([1, 3, 4, 0, 2]) == "hi you"


def funasr_piece_text(processor, ids: list[int]) -> str:
    """What SentencepiecesTokenizer prints: ids2tokens gives a sentence, tokens2text decodes its characters."""
    return processor.DecodePieces(list(processor.DecodeIds(ids)))


@pytest.fixture(scope="module")
def byte_fallback_model():
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed: pip install .[bpe]")
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "今天", "天气", "很", "我们", "公园"]
    chance = random.Random(3)
    sentences = (" ".join(chance.choices(words, k=8)) for _ in range(300))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=sentences, model_writer=model, vocab_size=340, model_type="bpe", byte_fallback=True,
        minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_pieces_read_as_in_sentencepiece_with_byte_fallback(byte_fallback_model):
    processor = byte_fallback_model
    size = processor.GetPieceSize()
    pieces = [processor.IdToPiece(i) for i in range(size)]
    assert "<0x00>" in pieces
    chance = random.Random(5)
    sequences = [chance.choices(range(size), k=chance.randint(0, 12)) for _ in range(3_000)]
    sequences += [processor.EncodeAsIds(text) for text in ("", "the fox 今天", "龘 ß", "  the  dog ")]
    for ids in sequences:
        assert join_pieces([pieces[i] for i in ids]) == funasr_piece_text(processor, ids), ids


@pytest.mark.shared
@needs_shared
def test_pieces_of_a_released_model_read_as_in_sentencepiece():
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed: pip install .[bpe]")
    folder = SHARED / "sidecars" / "sense_voice_small"
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "chn_jpn_yue_eng_ko_spectok.bpe.model"))
    tokenizer = Tokenizer.from_file(folder / "tokens.json", PIECES, **SPECIAL)
    chance = random.Random(13)
    for _ in range(5_000):
        ids = chance.choices(range(3, len(tokenizer)), k=chance.randint(0, 12))
        assert tokenizer.decode(ids) == funasr_piece_text(processor, ids), ids
