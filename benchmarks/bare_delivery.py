"""The least that gets a finished image into the gallery: download, decode, store, insert."""

import hashlib
import time
from collections import Counter
from contextlib import ExitStack
from typing import Self

import httpx
import psycopg
import pyvips

from benchmarks.proof import Prover
from benchmarks.sealed_words import cipher_of
from benchmarks.stack import Stack
from visiona.bootstrap import identity_key, worker_database_url
from visiona.db.actor import UserActor
from visiona.db.sealed import IMAGE_PARAMETERS, IMAGE_PROMPT
from visiona.objects.model import Kind, new_key
from visiona.settings import read_settings

THUMBNAIL_SIDE = 480

_INSERT = """
insert into generations (user_id, model_id, run_id, position, prompt, image_url, thumbnail_url,
                         content_type, width, height, size, sha256, seed, parameters)
select user_id, model_id, id, %(position)s, %(prompt)s, %(image)s, %(thumbnail)s, 'image/webp', %(width)s,
       %(height)s, %(size)s, %(sha256)s, 1, %(parameters)s
from runs where id = %(run)s
"""


class Deliverer:
    """Everything in one process, over connections that stay open, as the person under row-level security."""

    def __init__(self, stack: Stack, user_id: int) -> None:
        self._folder = stack.folder / "bare-objects"
        self._user_id = user_id
        settings = read_settings(stack.environment)
        self._cipher = cipher_of(settings, user_id)
        self._prover = Prover(UserActor(user_id), identity_key(settings))
        self._url = worker_database_url(settings)
        self._positions: Counter[int] = Counter()
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        (self._folder / new_key(self._user_id, Kind.IMAGE, "image/webp")).parent.mkdir(parents=True)
        self._http = self._resources.enter_context(httpx.Client(trust_env=False))
        self._connection = self._resources.enter_context(psycopg.connect(self._url, autocommit=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def deliver(self, output: str, run_id: int, *, encode: bool = False) -> float:
        """The milliseconds it took. With `encode`, the image is encoded anew and gets a thumbnail."""
        self._positions[run_id] += 1  # beside the image that Visiona delivered
        started = time.perf_counter()
        data = self._http.get(output).raise_for_status().content
        image = pyvips.Image.webpload_buffer(data).copy_memory()
        key, thumbnail_key = (new_key(self._user_id, Kind.IMAGE, "image/webp") for _ in range(2))
        master = self._folder / key
        if encode:
            image.webpsave(str(master), Q=92, keep="none")
            small = image.thumbnail_image(THUMBNAIL_SIDE, height=THUMBNAIL_SIDE)
            small.webpsave(str(self._folder / thumbnail_key), Q=80, keep="none")
        else:
            master.write_bytes(data)
        values = {
            "run": run_id,
            "position": self._positions[run_id],
            "image": key,
            "thumbnail": thumbnail_key,
            "width": image.width,
            "height": image.height,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "prompt": self._cipher.seal(IMAGE_PROMPT.place, "TOK in the mountains, 1"),
            "parameters": self._cipher.seal(IMAGE_PARAMETERS.place, '{"seed": 1, "num_outputs": 1}'),
        }
        self._prover.begin_sync(self._connection)
        self._connection.execute(_INSERT, values)
        self._connection.commit()
        return (time.perf_counter() - started) * 1000
