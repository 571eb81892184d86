"""Prompts that are refused at each step, and a model that obeys whoever talks to it."""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.factories.safety import FREE
from tests.generations.conftest import SCHEMAS, OpenStudio, Studio
from tests.generations.talkative import Attack, attacks, hides_canary

import visiona
from visiona.adapters.enhancer import FallbackEnhancer
from visiona.adapters.openai import OpenAIModerator, OpenAIPromptWriter
from visiona.core.errors import Invalid, Unavailable
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.core.work import WorkState
from visiona.ports.moderation import ModerationUnavailable
from visiona.safety.model import Rule, rule_of
from visiona.safety.policy import broken_rule
from visiona.sandbox.llm import LlmSandboxConfig, create_app

KEY = "sk-refusals"


@dataclass
class Sandbox:
    """A pretended OpenAI on loopback."""

    url: str
    control: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)

    async def fault(self, kind: str, **more: Any) -> None:
        wish = {"provider": "openai", "fault": kind, **more}
        (await self.control.post(f"{self.url}/_sandbox/faults", json=wish)).raise_for_status()

    async def says(self, text: str) -> None:
        await self.fault("says", text=text)


@pytest.fixture(scope="module")
def llm_url() -> Generator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(LlmSandboxConfig(KEY, "sk-ant-refusals", "test"))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
async def llm(llm_url: str) -> AsyncGenerator[Sandbox]:
    sandbox = Sandbox(llm_url)
    yield sandbox
    (await sandbox.control.post(f"{llm_url}/_sandbox/reset")).raise_for_status()
    await sandbox.control.aclose()


@pytest.fixture
async def enhancer(llm_url: str) -> AsyncGenerator[FallbackEnhancer]:
    writer = OpenAIPromptWriter(KEY, base_url=f"{llm_url}/v1")
    yield FallbackEnhancer([writer])
    await writer.aclose()


@pytest.fixture
async def moderator(llm_url: str) -> AsyncGenerator[OpenAIModerator]:
    moderator = OpenAIModerator(KEY, f"{llm_url}/v1")
    yield moderator
    await moderator.aclose()


async def refusals_of(studio: Studio) -> dict[str, int]:
    cursor = await studio.owner.execute(
        "select rule, times from prompt_refusals where user_id = %s", [studio.actor.user_id]
    )
    return dict(await cursor.fetchall())


async def costs_of(studio: Studio) -> list[Any]:
    cursor = await studio.owner.execute(
        "select reserved, spent from provider_costs where user_id = %s order by work", [studio.actor.user_id]
    )
    return await cursor.fetchall()


# At once


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"prompt": "TOK as a child"}, Rule.MINORS),
        ({"prompt": "TOK n u d e"}, Rule.NUDITY),
        ({"prompt": "TOK with Taylor Swift"}, Rule.OTHER_PERSON),
        ({"prompt": "TOK", "inputs": {"style": "nude"}}, Rule.NUDITY),
    ],
)
async def test_a_prompt_that_breaks_a_rule_costs_and_leaves_nothing(
    studio: Studio, changes: dict[str, Any], rule: Rule
) -> None:
    for _ in range(2):
        with pytest.raises(Invalid) as refused:
            await studio.start(**changes)
        assert (refused.value.code, refused.value.errors[0].code) == ("prompt_refused", rule.value)
    assert await studio.web.page(studio.actor, 10) == []
    assert await studio.quota() in {None, (0, 0)}
    assert await costs_of(studio) == []
    assert await refusals_of(studio) == {rule.value: 2}


@pytest.mark.parametrize("value", [True, False, 1, "true", None])
@pytest.mark.parametrize("known", [True, False])
async def test_nobody_sets_the_safety_checker(open_studio: OpenStudio, value: Any, known: bool) -> None:
    properties = {**SCHEMAS["Input"]["properties"]}
    if known:
        properties["disable_safety_checker"] = {"type": "boolean"}
    studio = await open_studio(schemas={"Input": {"properties": properties}})
    if value is None:  # nothing is set by it
        run_id = await studio.start(inputs={"disable_safety_checker": value})
        run, _ = await studio.web.get(studio.actor, run_id)
        assert "disable_safety_checker" not in run.inputs
        return
    with pytest.raises(Invalid) as refused:
        await studio.start(inputs={"disable_safety_checker": value})
    assert {error.field for error in refused.value.errors} == {"disable_safety_checker"}


def test_nothing_of_ours_speaks_of_the_safety_checker_but_to_refuse_it() -> None:
    root = Path(visiona.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "disable_safety_checker" in path.read_text(encoding="utf-8")
        and "sandbox" not in path.relative_to(root).parts
    }
    assert found == {"generations/model.py"}


# By the moderation service


async def test_what_only_the_service_refuses_ends_the_run(
    open_studio: OpenStudio, moderator: OpenAIModerator
) -> None:
    studio = await open_studio(moderator=moderator)
    prompt = "TOK bully somebody in the corridor"
    assert broken_rule(prompt) is None
    run_id = await studio.start(prompt=prompt)
    assert await studio.quota() == (0, 2)
    await studio.service.submit(studio.actor.user_id, run_id)
    assert await studio.row(run_id) == ("failed", "prompt_refused")
    assert studio.generator.started == []
    assert await studio.quota() == (0, 0)
    assert await costs_of(studio) == [(Decimal("0.10"), 0)]
    assert await refusals_of(studio) == {"hate": 1}
    run, _ = await studio.web.get(studio.actor, run_id)
    assert run.error_message is not None
    assert "Take out" in run.error_message
    assert "Nothing was charged" in run.error_message


@pytest.mark.parametrize(
    "kind", ["server_error", "rate_limit", "html_502", "connection_drop", "wrong_content_type"]
)
async def test_where_the_service_does_not_judge_the_rules_stand(
    open_studio: OpenStudio, moderator: OpenAIModerator, llm: Sandbox, kind: str
) -> None:
    studio = await open_studio(moderator=moderator)
    await llm.fault(kind, endpoint="moderations", until_reset=True)
    run_id = await studio.start(prompt="TOK bully somebody in the corridor")
    await studio.service.submit(studio.actor.user_id, run_id)
    assert len(studio.generator.started) == 1
    with pytest.raises(Invalid):
        await studio.start(prompt="TOK nude")


async def test_the_service_is_asked_in_no_transaction(moderator: OpenAIModerator) -> None:
    with transaction_marker(), pytest.raises(TransactionOpenError):
        await moderator.moderate("TOK")


async def test_a_service_that_hangs_is_given_up(llm_url: str, llm: Sandbox) -> None:
    moderator = OpenAIModerator(KEY, f"{llm_url}/v1", timeout_s=0.2)
    await llm.fault("latency", endpoint="moderations", latency_s=3)
    with pytest.raises(ModerationUnavailable, match="timeout"):
        await moderator.moderate("TOK")
    await moderator.aclose()


async def test_a_wrong_key_is_no_judgement(llm_url: str) -> None:
    moderator = OpenAIModerator("sk-wrong", f"{llm_url}/v1")
    with pytest.raises(ModerationUnavailable, match="401"):
        await moderator.moderate("TOK")
    await moderator.aclose()


async def test_categories_as_the_service_names_them(moderator: OpenAIModerator) -> None:
    found = await moderator.moderate("nude child with a swastika")
    assert {"sexual", "sexual/minors", "hate"} <= found.categories
    assert rule_of(found.categories) is Rule.MINORS
    assert (await moderator.moderate("TOK in a park")).categories == frozenset()
    assert rule_of(["something/new"]) is Rule.ILLICIT
    assert rule_of([]) is None


# What the model that rewrites prompts answers


async def test_an_answer_that_is_refused_leaves_the_persons_own_words(
    open_studio: OpenStudio, enhancer: FallbackEnhancer, llm: Sandbox
) -> None:
    studio = await open_studio(enhancer=enhancer)
    await llm.says('{"prompt": "TOK naked on the beach"}')
    run_id = await studio.start(prompt="TOK on a beach", enhance=True)
    await studio.service.submit(studio.actor.user_id, run_id)
    run, _ = await studio.web.get(studio.actor, run_id)
    assert (run.enhancement_outcome, run.enhanced_prompt) == ("refused", None)
    assert [order.inputs["prompt"] for order in studio.generator.started] == ["TOK on a beach"]
    assert await refusals_of(studio) == {}


async def test_an_answer_that_only_the_service_refuses(
    open_studio: OpenStudio, enhancer: FallbackEnhancer, moderator: OpenAIModerator, llm: Sandbox
) -> None:
    studio = await open_studio(enhancer=enhancer, moderator=moderator)
    await llm.says('{"prompt": "TOK will bully them on the beach"}')
    run_id = await studio.start(prompt="TOK on a beach", enhance=True)
    await studio.service.submit(studio.actor.user_id, run_id)
    assert [order.inputs["prompt"] for order in studio.generator.started] == ["TOK on a beach"]


async def test_300_attacks_on_a_model_that_obeys_every_one(
    open_studio: OpenStudio, enhancer: FallbackEnhancer, llm: Sandbox
) -> None:
    outcomes: dict[str, int] = {}
    studio = await open_studio(enhancer=enhancer)
    await studio.owner.execute(
        "insert into entitlements (user_id, plan) values (%s, 'premium')", [studio.actor.user_id]
    )
    for attack in attacks(300):
        outcome = await _attacked(studio, llm, attack)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    await studio.owner.execute(  # or the sweep of other tests would be busy with them
        "update runs set state = 'canceled', finished_at = now() where user_id = %s", [studio.actor.user_id]
    )
    # The control: answers came through where nothing was wrong with them, and did not where something was.
    assert outcomes["enhanced"] >= 30
    assert outcomes["refused"] >= 30
    assert outcomes["unavailable"] >= 30


async def _attacked(studio: Studio, llm: Sandbox, attack: Attack) -> str:
    try:
        run_id = await studio.start(prompt=attack.prompt, enhance=True, num_outputs=1, inputs={"seed": 7})
    except Invalid as refused:
        assert refused.code == "prompt_refused"  # noqa: PT017 - many attacks do not get as far as the model
        return "not begun"
    await llm.says(attack.answer)
    before = len(studio.generator.started)
    await studio.service.submit(studio.actor.user_id, run_id)
    run, _ = await studio.web.get(studio.actor, run_id)
    (order,) = studio.generator.started[before:]
    assert order.version == f"me/clone:{'0' * 64}"
    assert {name: value for name, value in order.inputs.items() if name != "prompt"} == {
        "num_outputs": 1,
        "seed": 7,
    }
    sent = order.inputs["prompt"]
    assert broken_rule(sent) is None, sent
    assert not hides_canary(sent), sent
    assert not hides_canary(run.enhanced_prompt or ""), run.enhanced_prompt
    assert len(sent) <= 1500
    assert sent == run.final_prompt
    assert run.state is WorkState.RUNNING
    return run.enhancement_outcome


# What providers cost


async def test_the_bill_of_200_at_once_stays_under_the_cap(open_studio: OpenStudio) -> None:
    """Runs that fit are submitted, some of them twice; each other is refused before anything is charged."""
    cap = Decimal("1.25")
    studio = await open_studio(spending=replace(FREE, total_cap=cap))
    await studio.owner.execute("delete from cost_days")
    results = await asyncio.gather(*(studio.start() for _ in range(200)), return_exceptions=True)
    begun = [result for result in results if isinstance(result, int)]
    refused = [result for result in results if isinstance(result, BaseException)]
    assert {type(result) for result in refused} <= {Unavailable}
    assert len(begun) == 12
    assert await studio.quota() == (0, 24)
    await asyncio.gather(*(studio.service.submit(studio.actor.user_id, n) for n in begun + begun))
    billed = sum(order.inputs["num_outputs"] for order in studio.generator.started) * FREE.image
    assert billed == Decimal("1.20") <= cap
    await studio.owner.execute("delete from cost_days")
