"""Makes a language model of half a megabyte for llama.cpp, the same bytes each time.

    tiny_gguf.py FILE [--kind chain|random] [--tools] [--ctx N]

`chain` always answers SENTENCE. Its layers add nothing to what they are given, so that
what comes next depends on the last token alone, and its output matrix is a table of
successors: from a token of the sentence to the one after it, from the last to the end of
the turn, from any other token to the first.
`random` answers gibberish, for what a grammar makes of it.

The architecture is Llama's; the tokenizer is a byte-level BPE of 512 tokens, trained here;
the chat template is ChatML, and with --tools one that writes tools as Hermes and Qwen do.
"""

import argparse
import re
from collections import Counter

import numpy
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants

SENTENCE = "Offline model here: the network is down."

VOCABULARY = 512
WIDTH = 128
HIDDEN = 256
LAYERS = 2
HEADS = 4
# How far the one right successor stands above all others: e^-30 for them together.
CERTAINTY = 30.0
SEED = 20261122

END_OF_TURN = "<|im_end|>"
SPECIAL = ["<|endoftext|>", "<|im_start|>", END_OF_TURN]

# What the merges are learned from: the sentence first, then what prompts are made of.
CORPUS = (SENTENCE + "\n") * 40 + """
system user assistant tool function name arguments description parameters required
You are a helpful assistant. You have access to tools. What is the weather like today?
Is the network up or down? The answer is here, and it is the same each time it is asked.
{"type": "object", "properties": {"city": {"type": "string"}, "ok": {"type": "boolean"}}}
{"name": "look_up", "arguments": {"city": "Bern", "count": 10, "ok": true, "none": null}}
true false null integer number string array 0123456789 10 20 50 100 200 500 1000 2026
This is a sentence of plain English, which is what most of the text will be that is read.
""" * 3

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

WITH_TOOLS = (
    "{% if tools %}"
    "{{ '<|im_start|>system\\n' }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\\n\\n' }}{% endif %}"
    "{{ '# Tools\\n\\nYou may call these functions:\\n<tools>' }}"
    "{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}"
    "{{ '\\n</tools>\\n\\nCall one with its name and arguments as JSON:\\n' }}"
    "{{ '<tool_call>\\n{\"name\": <name>, \"arguments\": <arguments>}\\n</tool_call>' }}"
    "{{ '<|im_end|>\\n' }}"
    "{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'tool' %}"
    "{{ '<|im_start|>user\\n<tool_response>\\n' + message['content'] }}"
    "{{ '\\n</tool_response><|im_end|>\\n' }}"
    "{% elif not (tools and loop.first and message['role'] == 'system') %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] %}{{ message['content'] }}{% endif %}"
    "{% for call in message['tool_calls'] or [] %}"
    "{{ '\\n<tool_call>\\n{\"name\": \"' + call['function']['name'] + '\", \"arguments\": ' }}"
    "{% if call['function']['arguments'] is string %}{{ call['function']['arguments'] }}"
    "{% else %}{{ call['function']['arguments'] | tojson }}{% endif %}"
    "{{ '}\\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte in a vocabulary of GPT-2's kind."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in shown}
    hidden = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(0x100 + at) for at, byte in enumerate(hidden)}


LETTERS = byte_letters()


def words(text: str) -> list[tuple[str, ...]]:
    """The text cut as GPT-2 cuts it, each word in the letters of its bytes."""
    cut = re.findall(
        r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", text
    )
    return [tuple(LETTERS[byte] for byte in word.encode()) for word in cut]


def merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    at = 0
    while at < len(word):
        if word[at : at + 2] == pair:
            out.append(pair[0] + pair[1])
            at += 2
        else:
            out.append(word[at])
            at += 1
    return tuple(out)


def learn_merges(count: int) -> list[tuple[str, str]]:
    """The pairs that stand together most often, each learned after those before it."""
    corpus = Counter(words(CORPUS))
    merges = []
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in corpus.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        corpus = Counter({merged(word, best): times for word, times in corpus.items()})
    return merges


def encode(text: str, merges: list[tuple[str, str]]) -> list[str]:
    tokens: list[str] = []
    for word in words(text):
        for pair in merges:
            word = merged(word, pair)
        tokens.extend(word)
    return tokens


def chain_tables(sentence: list[int], end: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Embeddings and output matrix. A token of the sentence is told by a dimension of its
    own, all others by the last one, beside noise that tells them apart; the model's last
    norm makes the length of each sqrt(WIDTH)."""
    noise = numpy.random.default_rng(SEED).standard_normal((VOCABULARY, WIDTH))
    embeddings = noise.astype(numpy.float32) * 0.05
    embeddings[:, : len(sentence)] = 0.0
    embeddings[:, -1] = 1.0
    output = numpy.zeros((VOCABULARY, WIDTH), dtype=numpy.float32)
    weight = CERTAINTY / numpy.sqrt(WIDTH)
    for place, (token, successor) in enumerate(zip(sentence, [*sentence[1:], end])):
        embeddings[token] = 0.0
        embeddings[token, place] = 1.0
        output[successor, place] = weight
    output[sentence[0], -1] = weight * 1.2
    return embeddings, output


def tensors(kind: str, sentence: list[int], end: int):
    """Names and values, in the order of the file."""
    generator = numpy.random.default_rng(SEED + 1)

    def noise(rows: int, columns: int, scale: float) -> numpy.ndarray:
        return (generator.standard_normal((rows, columns)) * scale).astype(numpy.float32)

    # In `chain` what would be added to the stream is nothing.
    added = 0.0 if kind == "chain" else 0.2
    embeddings, output = noise(VOCABULARY, WIDTH, 1.0), noise(VOCABULARY, WIDTH, 0.3)
    if kind == "chain":
        embeddings, output = chain_tables(sentence, end)
    ones = numpy.ones(WIDTH, dtype=numpy.float32)
    yield "token_embd.weight", embeddings
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", ones
        yield f"{block}.attn_q.weight", noise(WIDTH, WIDTH, 0.1)
        yield f"{block}.attn_k.weight", noise(WIDTH, WIDTH, 0.1)
        yield f"{block}.attn_v.weight", noise(WIDTH, WIDTH, 0.1)
        yield f"{block}.attn_output.weight", noise(WIDTH, WIDTH, added)
        yield f"{block}.ffn_norm.weight", ones
        yield f"{block}.ffn_gate.weight", noise(HIDDEN, WIDTH, 0.1)
        yield f"{block}.ffn_up.weight", noise(HIDDEN, WIDTH, 0.1)
        yield f"{block}.ffn_down.weight", noise(WIDTH, HIDDEN, added)
    yield "output_norm.weight", ones
    yield "output.weight", output


def write(path: str, kind: str, template: str, context: int):
    merges = learn_merges(VOCABULARY - len(LETTERS) - len(SPECIAL))
    vocabulary = [*LETTERS.values(), *(first + second for first, second in merges), *SPECIAL]
    ids = {token: at for at, token in enumerate(vocabulary)}
    assert len(ids) == VOCABULARY, "a token was learned twice"
    sentence = [ids[token] for token in encode(SENTENCE, merges)]
    assert len(set(sentence)) == len(sentence) < WIDTH // 2, "the sentence repeats a token"
    end = ids[END_OF_TURN]

    writer = GGUFWriter(path, "llama")
    writer.add_name(f"tiny-{kind}")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types(
        [TokenType.CONTROL if token in SPECIAL else TokenType.NORMAL for token in vocabulary]
    )
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(ids[SPECIAL[0]])
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    for name, values in tensors(kind, sentence, end):
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            quantized = quants.quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantized, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file")
    parser.add_argument("--kind", choices=["chain", "random"], default="chain")
    parser.add_argument("--tools", action="store_true", help="a template that knows tools")
    parser.add_argument("--ctx", type=int, default=4096, help="tokens the model was made for")
    arguments = parser.parse_args()
    template = WITH_TOOLS if arguments.tools else CHATML
    write(arguments.file, arguments.kind, template, arguments.ctx)


if __name__ == "__main__":
    main()
