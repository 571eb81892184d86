"""Rows for the gallery: 25 people with 2,000 images each, written in turns as if over the same months."""

import psycopg

PEOPLE = 25
IMAGES_EACH = 2_000
IMAGES_PER_RUN = 4

_STATEMENTS = (
    """insert into users (clerk_id, email)
       select 'user_bench' || n, 'bench' || n || '@example.com' from generate_series(1, %(others)s) n""",
    """insert into models (user_id, trigger_word, status, parameters, photo_count, version, input_schema,
                           ready_at)
       select id, 'TOK', 'Ready', '{"steps": 1000, "lora_rank": 16}', 12, 'owner/name:version', '{}', now()
       from users""",
    """insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs,
                         state, progress, quota_period, finished_at)
       select m.user_id, m.id, m.version, 'TOK', 'TOK', false, '{}', %(per_run)s, 'succeeded', 1,
              date_trunc('month', now()), now()
       from generate_series(1, %(runs_each)s) n cross join models m order by n, m.id""",
    """insert into generations (user_id, model_id, run_id, position, prompt, enhanced_prompt, image_url,
                                thumbnail_url, content_type, width, height, size, sha256, seed, parameters)
       select r.user_id, r.model_id, r.id, p,
              'TOK on a beach at sunset, walking towards the camera, number ' || r.id,
              case when r.id %% 2 = 0 then repeat('A cinematic portrait of TOK in golden light. ', 7) end,
              'u' || r.user_id || '/images/' || md5('i' || r.id || '-' || p) || '.webp',
              'u' || r.user_id || '/images/' || md5('t' || r.id || '-' || p) || '.webp',
              'image/webp', 1024, 1024, 200000, md5(r.id || '-' || p) || md5(p || '-' || r.id), r.id * 4 + p,
              jsonb_build_object('seed', r.id * 4, 'model', 'dev', 'aspect_ratio', '1:1', 'lora_scale', 1,
                'guidance_scale', 3, 'output_format', 'webp', 'output_quality', 90,
                'num_inference_steps', 28, 'disable_safety_checker', false)
       from runs r cross join generate_series(0, %(per_run)s - 1) p order by r.id, p""",
)


def fill(owner_url: str) -> None:
    """The people who have signed up already become the first of the 25."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        there = connection.execute("select count(*) from users").fetchone()
        values = {
            "others": PEOPLE - (there[0] if there else 0),
            "per_run": IMAGES_PER_RUN,
            "runs_each": IMAGES_EACH // IMAGES_PER_RUN,
        }
        with connection.transaction():
            for statement in _STATEMENTS:
                connection.execute(statement, values)
        connection.execute("vacuum analyze")
