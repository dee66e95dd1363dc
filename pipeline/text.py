"""Tokens as the text they stand for, and the words that the text is made of.

Neuron tools send tokens in several spellings: plain (`" the"`), byte-level BPE (`"Ġthe"`, with
`"âĢĻ"` for ’), SentencePiece (`"▁the"`, `"<0x0A>"`), WordPiece (`"##ing"`) or bare words without
spaces. Lexical matching needs the real text and its words, so that "she" inside "shelled" is not
the word "she"; the caller needs every token back in its place. `decode` gives both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import regex

IntArray = npt.NDArray[np.int64]

# A word keeps its inner apostrophes ("don't"). Every other visible character is a word of its own,
# and so is one of a script that sets no spaces between words.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[\w--[_{_UNSPACED}]]"
WORD = regex.compile(rf"{_LETTER}+(?:['’]{_LETTER}+)*|[{_UNSPACED}]\p{{M}}*|[^\w\s]|_", regex.V1)
_BYTE_TOKEN = regex.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPECIAL = regex.compile(r"<[|｜]?[^<>\s]{1,40}[|｜]?>|\[[A-Z]{2,12}\]")
# Those that stand for no text, by the names that vocabularies give them; "<p>" may be text.
_CONTROL = regex.compile(
    r"<[|｜][^<>\s]{1,40}[|｜]>|</?s>|<(?:bos|eos|pad|unk|mask)>|\[(?:CLS|SEP|PAD|UNK|MASK|BOS|EOS)\]"
)
_CONTROL_BEGINS = frozenset("<[")
_BARE_WORD = regex.compile(r"[\p{Latin}\p{Cyrillic}\p{Greek}\p{N}]")


@dataclass(frozen=True)
class TokenizedText:
    """A text with the place of each token and word in it.

    Attributes
    ----------
    text : the decoded text.
    spans : shape (n_tokens, 2), [start, end) of each token in `text`. Tokens that share one
        character (a UTF-8 sequence split between them) have overlapping spans.
    """

    text: str
    spans: IntArray

    @cached_property
    def word_spans(self) -> IntArray:
        """Shape (n_words, 2), [start, end) of each word in `text`."""
        found = [match.span() for match in WORD.finditer(self._said)]
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def _said(self) -> str:
        """The text with tokens that mark its beginning, end or padding left blank."""
        said, at = [], 0
        for start, end in self.spans:
            if self.text[start : start + 1] in _CONTROL_BEGINS and _CONTROL.fullmatch(
                self.text, start, end
            ):
                said += [self.text[at:start], " " * (end - start)]
                at = end
        return "".join([*said, self.text[at:]])

    @cached_property
    def words(self) -> tuple[str, ...]:
        return tuple(self.text[start:end] for start, end in self.word_spans)

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The characters that each token touches; those of a split one are in several pieces."""
        return tuple(self.text[start:end] for start, end in self.spans)

    @cached_property
    def token_words(self) -> IntArray:
        """Shape (n_tokens,): the word that holds a token's last visible character, or -1."""
        out = np.full(len(self.spans), -1, dtype=np.int64)
        if not len(self.word_spans):
            return out
        starts, ends = self.spans.T
        # The last word that begins before the token's end is the only one that may reach into it.
        last = np.searchsorted(self.word_spans[:, 0], ends, side="left") - 1
        inside = (last >= 0) & (self.word_spans[last, 1] > starts) & (ends > starts)
        out[inside] = last[inside]
        return out

    def largest_by_word(self, of_tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The largest of each word's token values, 0.0 at least: (n_tokens,) → (n_words,)."""
        out = np.zeros(len(self.words))
        inside = self.token_words >= 0
        np.maximum.at(out, self.token_words[inside], of_tokens[inside])
        return out

    @cached_property
    def word_tokens(self) -> IntArray:
        """Shape (n_words,): the token that holds a word's last character.

        The recorded simulations, like the quoting prompt, put a word's strength there.
        """
        return self.tokens_of(self.word_spans[:, 1] - 1)

    def tokens_of(self, places: IntArray) -> IntArray:
        """The token of each character; of one that is split, the last, which completes it."""
        (filled,) = np.nonzero(self.spans[:, 0] < self.spans[:, 1])
        return filled[np.searchsorted(self.spans[filled, 0], places, side="right") - 1]


def decode(texts: Sequence[Sequence[str]]) -> list[TokenizedText]:
    """Decode the tokens of some texts that come from one tokenizer.

    Parameters
    ----------
    texts : tokens of each text. The spelling is found out from all of them together.

    Returns
    -------
    One `TokenizedText` for each text, with as many spans as tokens.

    References
    ----------
    Byte-level alphabet: Radford et al. 2019, the GPT-2 encoder's byte-to-character table.
    """
    to_bytes = _spelling(set(chain.from_iterable(texts)))
    return [_assemble([to_bytes(token) for token in tokens]) for tokens in texts]


def _assemble(pieces: list[bytes]) -> TokenizedText:
    """Join byte pieces into text and map each piece to the characters it touches."""
    data = b"".join(pieces)
    text, char_of_byte = _decode_bytes(data)
    spans = np.zeros((len(pieces), 2), dtype=np.int64)
    at = 0
    for index, piece in enumerate(pieces):
        if piece:
            spans[index] = char_of_byte[at], char_of_byte[at + len(piece) - 1] + 1
        else:
            spans[index] = char_of_byte[at] if at < len(data) else len(text)
        at += len(piece)
    return TokenizedText(text, spans)


def _decode_bytes(data: bytes) -> tuple[str, Sequence[int]]:
    """UTF-8 with U+FFFD for each broken byte run, and the character index of every byte."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_broken_bytes(data)
    if len(text) == len(data):
        return text, range(len(data))
    return text, [i for i, char in enumerate(text) for _ in range(len(char.encode("utf-8")))]


def _decode_broken_bytes(data: bytes) -> tuple[str, list[int]]:
    chars: list[str] = []
    char_of_byte: list[int] = []
    at = 0
    while at < len(data):
        for width in (1, 2, 3, 4):
            try:
                char = data[at : at + width].decode("utf-8")
            except UnicodeDecodeError:
                continue
            break
        else:
            char, width = "\ufffd", 1
        char_of_byte += [len(chars)] * len(data[at : at + width])
        chars.append(char)
        at += width
    return "".join(chars), char_of_byte


def _plain(token: str) -> bytes:
    """Text already; a lone byte-level run such as "âĢĻ" is still undone."""
    encoded = token.encode("utf-8", "replace")
    if token.isascii():
        return encoded
    restored = _byte_level(token)
    try:
        restored.decode("utf-8")
    except UnicodeDecodeError:
        return encoded
    # "ā" is a letter that people write, and the byte-level spelling of a control character.
    ascii_bytes = sum(byte < 0x80 for byte in restored)
    return restored if ascii_bytes == sum(map(str.isascii, token)) else encoded


def _byte_level(token: str) -> bytes:
    return b"".join(_unmap(char) for char in token)


def _sentence_piece(token: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(token)
    if byte:
        return bytes([int(byte[1], 16)])
    return token.replace("▁", " ").encode("utf-8", "replace")


def _word_piece(token: str) -> bytes:
    return (token[2:] if token.startswith("##") else f" {token}").encode("utf-8", "replace")


def _bare_words(token: str) -> bytes:
    return (f" {token}" if _BARE_WORD.match(token) else token).encode("utf-8", "replace")


def _spelling(vocabulary: Iterable[str]) -> Callable[[str], bytes]:
    """How these tokens are spelled; special tokens such as <bos> say nothing about it."""
    ordinary = [token for token in vocabulary if not _SPECIAL.fullmatch(token)]
    if any(char.isspace() for token in ordinary if not token.isspace() for char in token):
        return _plain
    # These vocabularies hold runs of blanks as they are: Pythia's spaces, Gemma's line breaks.
    if any(token.startswith(("Ġ", "Ċ")) for token in ordinary):
        return _byte_level
    if any("▁" in token for token in ordinary):
        return _sentence_piece
    if any(token.isspace() for token in ordinary):
        return _plain
    if any(token.startswith("##") and len(token) > 2 for token in ordinary):
        return _word_piece
    return _bare_words if len(ordinary) > 1 else _plain


@cache
def _byte_of_char() -> dict[str, int]:
    """The byte that each character of the byte-level alphabet stands for."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = [byte for byte in range(256) if byte not in set(printable)]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + offset): byte for offset, byte in enumerate(shifted)}


def _unmap(char: str) -> bytes:
    byte = _byte_of_char().get(char)
    return char.encode("utf-8", "replace") if byte is None else bytes([byte])
