"""The actions that are recorded. Names are for ever: exports and reports refer to them."""

from enum import StrEnum


class Action(StrEnum):
    ACCOUNT_CREATED = "account.created"
    SIGNED_IN = "account.signed_in"
    SIGNED_OUT = "account.signed_out"
    PHOTO_ADDED = "photo.added"
    PHOTO_DELETED = "photo.deleted"
    CLONE_TRAINING_STARTED = "clone.training_started"
    CLONE_READY = "clone.ready"
    CLONE_FAILED = "clone.failed"
    CLONE_CANCELED = "clone.canceled"
    CLONE_DELETED = "clone.deleted"
    GENERATION_STARTED = "generation.started"
    GENERATION_FINISHED = "generation.finished"
    GENERATION_CANCELED = "generation.canceled"
    IMAGE_DELETED = "image.deleted"
    PLAN_CHANGED = "plan.changed"
    CHECKOUT_STARTED = "checkout.started"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    PAYMENT_RECORDED = "payment.recorded"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
