"""Every backdrop by the name that `prompt.read` gives it."""

from collections.abc import Callable, Mapping

from visiona.sandbox.replicate.painter import indoors, outdoors
from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas

SCENES: Mapping[str, Callable[[Canvas], Backdrop]] = {
    "abstract": indoors.abstract,
    "autumn": outdoors.autumn,
    "beach": outdoors.beach,
    "castle": indoors.castle,
    "city_night": indoors.city_night,
    "desert": outdoors.desert,
    "forest": outdoors.forest,
    "garden": outdoors.garden,
    "library": indoors.library,
    "mountains": outdoors.mountains,
    "neon_city": indoors.neon_city,
    "office": indoors.office,
    "sky": outdoors.sky,
    "snow": outdoors.snow,
    "space": indoors.space,
    "stage": indoors.stage,
    "studio": indoors.studio,
    "underwater": outdoors.underwater,
}
