"""llama.cpp's own HTTP server on the loopback, with one thread.

    server.py MODEL [--port PORT] [--ctx TOKENS] [--slots COUNT] [--embeddings]

Prints its port when it answers, and ends when stdin is closed.
"""

import argparse
import os
import socket
import sys
from urllib.parse import urlsplit

import xllamacpp


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--ctx", type=int, default=4096, help="tokens of context of each slot")
    parser.add_argument("--slots", type=int, default=1, help="requests that are answered at once")
    parser.add_argument("--embeddings", action="store_true", help="embeds too, by the mean of tokens")
    arguments = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    # The server divides what it is given among its slots.
    params.n_ctx = arguments.ctx * arguments.slots
    params.n_parallel = arguments.slots
    if arguments.embeddings:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = params.ui = False
    params.verbosity = 1  # errors alone
    server = xllamacpp.Server(params)
    print(urlsplit(server.listening_address).port, flush=True)
    sys.stdin.read()
    # Not by way of the server's own end, which now and then waits for ever for a thread of its
    # that still accepts connections. It keeps nothing.
    os._exit(0)


main()
