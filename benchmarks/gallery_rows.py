"""Rows for the gallery: 25 people with 2,000 images each, written in turns as if over the same months."""

import json

import psycopg

from benchmarks.sealed_words import cipher_of, lay_out, strangers
from visiona.db.sealed import (
    IMAGE_ENHANCED_PROMPT,
    IMAGE_PARAMETERS,
    IMAGE_PROMPT,
    MODEL_PARAMETERS,
    MODEL_TRIGGER_WORD,
    RUN_INPUTS,
    RUN_PROMPT,
    RUN_TRIGGER_WORD,
)
from visiona.settings import Settings

PEOPLE = 25
IMAGES_EACH = 2_000
IMAGES_PER_RUN = 4

_WORDS = {
    MODEL_TRIGGER_WORD: "TOK",
    MODEL_PARAMETERS: json.dumps({"steps": 1000, "lora_rank": 16}),
    RUN_TRIGGER_WORD: "TOK",
    RUN_PROMPT: "TOK",
    RUN_INPUTS: "{}",
    IMAGE_PROMPT: "TOK on a beach at sunset, walking towards the camera, number 12345",
    IMAGE_ENHANCED_PROMPT: "A cinematic portrait of TOK in golden light. " * 7,
    IMAGE_PARAMETERS: json.dumps(
        {
            "seed": 12345,
            "model": "dev",
            "aspect_ratio": "1:1",
            "lora_scale": 1,
            "guidance_scale": 3,
            "output_format": "webp",
            "output_quality": 90,
            "num_inference_steps": 28,
            "disable_safety_checker": False,
        }
    ),
}
_OTHERS = """insert into users (clerk_id) select 'user_bench' || n from generate_series(1, %(others)s) n"""
_STATEMENTS = (
    """insert into models (user_id, trigger_word, status, parameters, photo_count, version, input_schema,
                           ready_at)
       select user_id, models_trigger_word, 'Ready', models_parameters, 12, 'owner/name:version', '{}', now()
       from words""",
    """insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs,
                         state, progress, quota_period, finished_at)
       select m.user_id, m.id, m.version, w.runs_trigger_word, w.runs_prompt, false, w.runs_inputs,
              %(per_run)s, 'succeeded', 1, date_trunc('month', now()), now()
       from generate_series(1, %(runs_each)s) n cross join models m join words w using (user_id)
       order by n, m.id""",
    """insert into generations (user_id, model_id, run_id, position, prompt, enhanced_prompt, image_url,
                                thumbnail_url, content_type, width, height, size, sha256, seed, parameters)
       select r.user_id, r.model_id, r.id, p, w.generations_prompt,
              case when r.id %% 2 = 0 then w.generations_enhanced_prompt end,
              'u' || r.user_id || '/images/' || md5('i' || r.id || '-' || p) || '.webp',
              'u' || r.user_id || '/images/' || md5('t' || r.id || '-' || p) || '.webp',
              'image/webp', 1024, 1024, 200000, md5(r.id || '-' || p) || md5(p || '-' || r.id), r.id * 4 + p,
              w.generations_parameters
       from runs r join words w using (user_id) cross join generate_series(0, %(per_run)s - 1) p
       order by r.id, p""",
)


def fill(owner_url: str, settings: Settings) -> None:
    """The people who have signed up already become the first of the 25."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        there = [row[0] for row in connection.execute("select id from users").fetchall()]
        values = {
            "others": PEOPLE - len(there),
            "per_run": IMAGES_PER_RUN,
            "runs_each": IMAGES_EACH // IMAGES_PER_RUN,
        }
        with connection.transaction():
            connection.execute(_OTHERS, values)
            everybody = [row[0] for row in connection.execute("select id from users").fetchall()]
            own = [cipher_of(settings, user_id) for user_id in there]
            lay_out(connection, [*own, *strangers(set(everybody) - set(there))], _WORDS)
            for statement in _STATEMENTS:
                connection.execute(statement, values)
        connection.execute("vacuum analyze")
