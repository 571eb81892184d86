"""Every backdrop by the name that `prompt.read` gives it."""

from collections.abc import Callable, Mapping

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.scenes import beyond, open_air, rooms, town, woods

SCENES: Mapping[str, Callable[[Canvas], Backdrop]] = {
    "abstract": beyond.abstract,
    "autumn": woods.autumn,
    "beach": open_air.beach,
    "castle": rooms.castle,
    "city_night": town.city_night,
    "desert": open_air.desert,
    "forest": woods.forest,
    "garden": woods.garden,
    "library": rooms.library,
    "moon": beyond.moon,
    "mountains": open_air.mountains,
    "neon_city": town.neon_city,
    "office": rooms.office,
    "sky": open_air.sky,
    "snow": open_air.snow,
    "space": beyond.space,
    "stage": rooms.stage,
    "studio": rooms.studio,
    "underwater": open_air.underwater,
}
