"""Every manner of picture by the name that `prompt.read` gives it."""

from collections.abc import Callable, Mapping

from visiona.sandbox.replicate.painter.compose import Scene
from visiona.sandbox.replicate.painter.raster import Picture
from visiona.sandbox.replicate.painter.styles import camera, drawn, painted, tiled
from visiona.sandbox.replicate.painter.styles.brush import Manner

STYLES: Mapping[str, Callable[[Scene, Manner], Picture]] = {
    "anime": drawn.anime,
    "comic": drawn.comic,
    "lowpoly": tiled.lowpoly,
    "master": painted.master,
    "neon": camera.neon,
    "noir": camera.noir,
    "oil": painted.oil,
    "pencil": drawn.pencil,
    "photo": camera.photo,
    "pixel": tiled.pixel,
    "pop": drawn.pop,
    "vintage": camera.vintage,
    "watercolor": painted.watercolor,
}
