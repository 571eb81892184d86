"""Subscriptions: made, changed, renewed, paused and ended."""

from visiona.sandbox.stripe.engine.subscriptions.creation import Creation
from visiona.sandbox.stripe.engine.subscriptions.cycle import Cycle
from visiona.sandbox.stripe.engine.subscriptions.endings import Endings
from visiona.sandbox.stripe.engine.subscriptions.parts import Parts
from visiona.sandbox.stripe.engine.subscriptions.pausing import Pausing
from visiona.sandbox.stripe.engine.subscriptions.previews import Previews
from visiona.sandbox.stripe.engine.subscriptions.updating import Updating

__all__ = ["Parts", "Subscriptions"]


class Subscriptions:
    """`params` are what the API's parameters were read as."""

    def __init__(self, parts: Parts) -> None:
        endings = Endings(parts)
        creation = Creation(parts, endings)
        pausing = Pausing(parts)
        self.changes = Updating(parts, creation, endings)
        self.previews = Previews(parts, creation, self.changes, endings)
        self.cycle = Cycle(parts, endings, self.changes, self.previews, pausing)
        self.after_end = parts.standing.after_end
        self.create = creation.create
        self.update = self.changes.update
        self.cancel = endings.cancel
        self.end_all = endings.end_all
        self.pause = pausing.pause
        self.resume = pausing.resume
