"""What the API answers: one struct per shape, and how it is made from what services return."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from visiona.accounts.model import Role, SignedIn, User
from visiona.billing.model import Quota, Use
from visiona.bootstrap import App
from visiona.clones.model import Clone
from visiona.core.clock import rfc3339
from visiona.core.work import WorkState
from visiona.generations.model import GeneratedImage, Run
from visiona.photos.model import Photo


class ErrorView(msgspec.Struct):
    code: str
    message: str


class UserView(msgspec.Struct):
    id: int
    email: str
    plan: str
    created_at: str


class TokenView(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: int


class SignedInView(msgspec.Struct):
    user: UserView
    access_token: str
    token_type: str
    expires_in: int


class UseView(msgspec.Struct):
    used: int
    limit: int


class QuotaView(msgspec.Struct):
    images: UseView
    clones: UseView
    period_end: str


class MeView(msgspec.Struct):
    """`email_verified` says whether the person has shown that they read this address."""

    id: int
    email: str
    email_verified: bool
    role: Role
    plan: str
    created_at: str
    quota: QuotaView


class PhotoView(msgspec.Struct):
    id: int
    file_url: str
    thumbnail_url: str
    width: int
    height: int
    warnings: list[str]
    uploaded_at: str


class RejectedView(msgspec.Struct):
    filename: str
    code: str
    message: str


class UploadView(msgspec.Struct):
    photos: list[PhotoView]
    rejected: list[RejectedView]


class PhotoPage(msgspec.Struct):
    items: list[PhotoView]
    next_cursor: str | None


class ModelView(msgspec.Struct):
    id: int
    trigger_word: str
    status: Literal["Processing", "Ready", "Failed"]
    progress: float
    parameters: dict[str, Any]
    photo_count: int
    error: ErrorView | None
    created_at: str
    ready_at: str | None


class ModelPage(msgspec.Struct):
    items: list[ModelView]
    next_cursor: str | None


class ImageView(msgspec.Struct):
    id: int
    model_id: int | None
    prompt: str
    enhanced_prompt: str | None
    image_url: str
    thumbnail_url: str
    width: int
    height: int
    seed: int | None
    parameters: dict[str, Any]
    created_at: str


class ImagePage(msgspec.Struct):
    items: list[ImageView]
    next_cursor: str | None


class EnhancementView(msgspec.Struct):
    provider: str | None
    outcome: Literal["not_requested", "pending", "enhanced", "refused", "unavailable", "off"]


class RunView(msgspec.Struct):
    id: int
    model_id: int | None
    status: Literal["queued", "running", "succeeded", "failed", "canceled"]
    progress: float
    prompt: str
    enhanced_prompt: str | None
    enhancement: EnhancementView
    num_outputs: int
    parameters: dict[str, Any]
    images: list[ImageView]
    error: ErrorView | None
    created_at: str


class RunPage(msgspec.Struct):
    items: list[RunView]
    next_cursor: str | None


def user_view(user: User, plan: str) -> UserView:
    return UserView(user.id, user.email, plan, rfc3339(user.created_at))


def me_view(user: User, quota: Quota) -> MeView:
    return MeView(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified,
        role=user.role,
        plan=quota.plan.name,
        created_at=rfc3339(user.created_at),
        quota=quota_view(quota),
    )


def signed_in_view(signed_in: SignedIn, plan: str) -> SignedInView:
    token = signed_in.access_token
    return SignedInView(user_view(signed_in.user, plan), token.token, "Bearer", token.expires_in)


def quota_view(quota: Quota) -> QuotaView:
    return QuotaView(_use(quota.images), _use(quota.clones), rfc3339(quota.period.end))


def _use(use: Use) -> UseView:
    return UseView(use.used, use.limit)


async def photo_view(app: App, photo: Photo) -> PhotoView:
    return PhotoView(
        id=photo.id,
        file_url=await app.objects.link(photo.file_key),
        thumbnail_url=await app.objects.link(photo.thumbnail_key),
        width=photo.width,
        height=photo.height,
        warnings=list(photo.warnings),
        uploaded_at=rfc3339(photo.uploaded_at),
    )


async def photo_page(app: App, photos: Sequence[Photo], limit: int) -> PhotoPage:
    items = [await photo_view(app, photo) for photo in photos]
    return PhotoPage(items, next_cursor([photo.id for photo in photos], limit))


def model_view(clone: Clone) -> ModelView:
    return ModelView(
        id=clone.id,
        trigger_word=clone.trigger_word,
        status=clone.status,  # pyright: ignore[reportArgumentType] - the table's check allows no other
        progress=clone.progress,
        parameters=clone.parameters,
        photo_count=clone.photo_count,
        error=_error(clone.error_code, clone.error_message),
        created_at=rfc3339(clone.created_at),
        ready_at=rfc3339(clone.ready_at) if clone.ready_at else None,
    )


def model_page(clones: Sequence[Clone], limit: int) -> ModelPage:
    items = [model_view(clone) for clone in clones]
    return ModelPage(items, next_cursor([clone.id for clone in clones], limit))


async def image_view(app: App, image: GeneratedImage) -> ImageView:
    return ImageView(
        id=image.id,
        model_id=image.model_id,
        prompt=image.prompt,
        enhanced_prompt=image.enhanced_prompt,
        image_url=await app.objects.link(image.image_key),
        thumbnail_url=await app.objects.link(image.thumbnail_key),
        width=image.width,
        height=image.height,
        seed=image.seed,
        parameters=image.parameters,
        created_at=rfc3339(image.created_at),
    )


async def image_page(app: App, images: Sequence[GeneratedImage], limit: int) -> ImagePage:
    items = [await image_view(app, image) for image in images]
    return ImagePage(items, next_cursor([image.id for image in images], limit))


async def run_view(app: App, run: Run, images: Sequence[GeneratedImage]) -> RunView:
    # `submitting` is ours alone: to its owner the run still waits.
    state = WorkState.QUEUED if run.state is WorkState.SUBMITTING else run.state
    return RunView(
        id=run.id,
        model_id=run.model_id,
        status=state.value,
        progress=1.0 if run.state is WorkState.SUCCEEDED else run.progress,
        prompt=run.prompt,
        enhanced_prompt=run.enhanced_prompt,
        enhancement=EnhancementView(
            run.enhancement_provider,
            run.enhancement_outcome,  # pyright: ignore[reportArgumentType] - the table's check allows no other
        ),
        num_outputs=run.num_outputs,
        parameters=run.inputs,
        images=[await image_view(app, image) for image in images],
        error=_error(run.error_code, run.error_message),
        created_at=rfc3339(run.created_at),
    )


async def run_page(app: App, runs: Sequence[tuple[Run, list[GeneratedImage]]], limit: int) -> RunPage:
    items = [await run_view(app, run, images) for run, images in runs]
    return RunPage(items, next_cursor([run.id for run, _ in runs], limit))


def _error(code: str | None, message: str | None) -> ErrorView | None:
    return None if code is None else ErrorView(code, message or "")


def next_cursor(ids: Sequence[int], limit: int) -> str | None:
    """Where the next page begins; None when this one was not full."""
    return str(ids[-1]) if len(ids) == limit else None
