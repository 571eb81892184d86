"""Where the light comes from, by kind of place, hour and weather."""

from typing import Final

from visiona.sandbox.llm.rewriter.scenes import Hour, Kind

_OPEN: Final[dict[Hour, tuple[str, ...]]] = {
    "morning": ("pale early sun coming in low from one side", "clear morning light with long, cool shadows"),
    "noon": (
        "high bright sun bounced back off the ground as fill",
        "crisp midday light with short, defined shadows",
    ),
    "golden": (
        "low golden-hour sun raking in from the side, a warm rim on the hair",
        "honeyed late light behind the shoulder with long, soft shadows",
    ),
    "blue": (
        "even blue-hour light with a last pink band in the sky",
        "cool dusk from above against one small warm glow",
    ),
    "night": (
        "cool moonlight from above, a small warm lantern near the face",
        "faint starlit sky with a low fire as the only key light",
    ),
}

LIGHTS: Final[dict[Kind, dict[Hour, tuple[str, ...]]]] = {
    "open": _OPEN,
    "street": {
        "morning": ("slanting early sun between the buildings", "cool morning shade with bright sky as fill"),
        "noon": ("open shade with the bright opposite façade as reflector",),
        "golden": (
            "late sun flaring low down the block, glass catching it",
            "amber evening light from one side",
        ),
        "blue": ("deep blue dusk against the first lit windows",),
        "night": (
            "shopfront glow on one cheek, streetlamp rim on the other",
            "pools of sodium light and deep shadow",
        ),
    },
    "neon": {
        "morning": ("grey dawn mixing with the last lit signs",),
        "noon": ("flat overcast daylight against buzzing signs",),
        "golden": ("orange haze behind the towers, first signs flickering on",),
        "blue": ("violet dusk cut by cyan and magenta signs",),
        "night": (
            "magenta and cyan signs lighting opposite sides of the face",
            "hard colored glow from one sign, the rest in shadow",
        ),
    },
    "forest": {
        "morning": ("shafts of early sun through the canopy", "diffuse green-tinted daylight from above"),
        "noon": ("dappled sun falling through the leaves",),
        "golden": ("amber rays slanting between the trunks",),
        "blue": ("dim dusk under the branches, a paler clearing behind",),
        "night": ("thin moonlight through bare branches, one warm source close by",),
    },
    "snow": {
        "morning": (
            "pale low sun and blue shadows on white ground",
            "bright, soft light bounced up from below",
        ),
        "noon": ("dazzling high sun with soft bounce from below",),
        "golden": ("peach-colored last sun grazing the drifts",),
        "blue": ("steel-blue dusk with one warm window far off",),
        "night": ("cold moonlight on white ground, faint warm fill from one side",),
    },
    "indoor": {
        "morning": (
            "fresh window light from the left, falling off gently",
            "cool daylight through thin curtains",
        ),
        "noon": (
            "broad soft window light with gentle fill",
            "large soft key from one side, light fill opposite",
        ),
        "golden": ("late sun slanting through the window in warm bars",),
        "blue": ("blue window light against a warm lamp",),
        "night": (
            "one warm lamp at face height, the rest of the room in shade",
            "low amber practicals and soft falloff",
        ),
    },
    "studio": {
        "noon": (
            "large softbox at forty-five degrees, thin rim on the shoulders",
            "single beauty dish with white fill below",
        ),
    },
    "atelier": {
        "noon": (
            "light falling from a high window, the far cheek in cool shade",
            "one clear light from the upper left, half-tones turning softly",
        ),
    },
    "stage": {
        "noon": ("one tall side light carving the figure out of darkness",),
        "night": (
            "hard beams from behind cutting through thin haze",
            "deep red wash with a single white key",
        ),
    },
    "hall": {
        "morning": ("cold dawn through tall windows against torch flame",),
        "noon": ("a single shaft of daylight from a high window",),
        "golden": ("amber evening light on one side of the stone, cool shade on the other",),
        "blue": ("blue dusk outside, torches along the wall",),
        "night": ("torchlight from both sides, deep shadow above",),
    },
    "arena": {
        "noon": ("bright even daylight with a thin rim from behind",),
        "golden": ("low evening sun across the playing surface",),
        "night": ("floodlights high behind, a hard rim on shoulders and hair",),
    },
    "space": {
        "noon": ("hard unfiltered sun from one side, a faint blue planet-glow opposite",),
        "night": ("hard unfiltered sun from one side, a faint blue planet-glow opposite",),
    },
    "underwater": {
        "noon": ("rippling bands of daylight filtering down from the surface",),
        "night": ("a single torch beam fading into deep blue",),
    },
    "any": {
        "noon": (
            "soft directional light from one side with gentle fill",
            "broken daylight, one bright edge along the figure",
        ),
        "morning": ("clear low morning light from one side",),
        "golden": ("warm low sun from one side, long soft shadows",),
        "blue": ("cool, even dusk light with one warm accent",),
        "night": ("one warm key light with the surroundings falling into darkness",),
    },
}

Weather = str

WEATHERS: Final[tuple[tuple[Weather, str], ...]] = (
    ("storm", r"storm(?:y)?|thunder\w*|lightning|hurricane|tempest"),
    ("rain", r"rain(?:y|ing)?|drizzl\w+|downpour|umbrella|wet street"),
    ("fog", r"fog(?:gy)?|mist(?:y)?|haz[ey]"),
    ("snowfall", r"snowing|snowfall|snowflakes|blizzard|falling snow"),
    ("overcast", r"overcast|cloudy|grey sky|gray sky|gloomy"),
)

WEATHER_LIGHTS: Final[dict[Weather, dict[str, tuple[str, ...]]]] = {
    "storm": {
        "day": ("bruised, low-hanging cloud with one hard break of light",),
        "night": ("brief cold flashes picking the figure out of the dark",),
    },
    "rain": {
        "day": ("flat silver daylight, every wet surface returning a soft highlight",),
        "night": ("lamps doubled on the wet ground, backlit drops in the air",),
    },
    "fog": {
        "day": ("directionless pearl-grey light, contrast fading with distance",),
        "night": ("a halo around each lamp, darkness closing in behind",),
    },
    "snowfall": {
        "day": ("muted white daylight without hard shadows",),
        "night": ("a warm lamp catching the nearest flakes against deep blue",),
    },
    "overcast": {
        "day": ("soft, even cloud light wrapping the face",),
        "night": ("low cloud glowing faintly above scattered lamps",),
    },
}

WEATHER_DETAILS: Final[dict[Weather, tuple[str, ...]]] = {
    "storm": ("cloth and hair torn sideways by the wind",),
    "rain": ("droplets beading on fabric and lashes", "ripples breaking up the reflections underfoot"),
    "fog": ("shapes dissolving one behind another",),
    "snowfall": ("flakes settling on shoulders and hair",),
    "overcast": (),
}

WINDOW_LIGHTS: Final[dict[str, tuple[str, ...]]] = {
    "day": ("muted grey window light against one warm lamp",),
    "night": ("a warm lamp close by, blue dark beyond the window",),
}

WINDOW_DETAILS: Final[dict[Weather, tuple[str, ...]]] = {
    "storm": ("branches thrashing outside the glass",),
    "rain": ("drops running down the glass, the outside blurred",),
    "fog": ("only pale shapes outside the glass",),
    "snowfall": ("white flakes drifting past the glass",),
    "overcast": (),
}

SEASONS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "autumn|fall leaves",
        ("copper leaves drifting down and gathering underfoot", "a carpet of russet and yellow leaves"),
    ),
    ("spring|blossoms?", ("first blossom and fresh green shoots",)),
)

CLASHES: Final[dict[str, frozenset[str]]] = {
    "night": frozenset({"sun", "heat", "shimmer", "parasol", "palm", "pollen", "insects", "blue"}),
    "storm": frozenset(
        {"dust", "heat", "sun", "straw", "seeds", "pollen", "shimmer", "moth", "linen", "lying"}
    ),
    "rain": frozenset(
        {"dust", "heat", "sun", "straw", "seeds", "pollen", "shimmer", "linen", "lying", "smoke"}
    ),
    "fog": frozenset({"heat", "horizon", "shimmer", "ridgelines"}),
    "mono": frozenset(
        {
            "amber",
            "blue",
            "brown",
            "color",
            "colored",
            "copper",
            "crimson",
            "cyan",
            "gold",
            "golden",
            "green",
            "honeyed",
            "magenta",
            "navy",
            "ochre",
            "orange",
            "pink",
            "red",
            "rose",
            "russet",
            "rust",
            "turquoise",
            "vermilion",
            "violet",
            "yellow",
        }
    ),
    "autumn": frozenset({"bloom", "petals", "blossom", "insects", "seeds", "lying", "barefoot", "stems"}),
    "medium": frozenset(
        {"fill", "key", "rim", "softbox", "practicals", "reflector", "bounce", "focus", "blurred"}
    ),
    "cold": frozenset(
        {"barefoot", "linen", "cotton", "shorts", "straw", "petals", "heat", "ankle", "insects"}
    ),
}
"""Words that a detail, pose or garment must not bring into a picture with that hour or weather."""

OUTFITS: Final[dict[str, tuple[str, ...]]] = {
    "storm": ("in a long oilskin coat with the collar up",),
    "rain": ("in a dark raincoat, hood down",),
    "snowfall": ("in a heavy wool coat and a thick scarf",),
}

HOURS: Final[tuple[tuple[Hour, str], ...]] = (
    ("night", r"night|midnight|moonlit|starry|stars|after dark"),
    ("blue", r"dusk|twilight|blue hour|nightfall|evening"),
    ("golden", r"golden hour|sunset|sundown|late afternoon|autumn|fall leaves"),
    ("morning", r"morning|sunrise|dawn|daybreak|early light"),
    ("noon", r"noon|midday|daytime|sunny|bright day|blue sky"),
)


_OUTDOORS: Final[frozenset[Kind]] = frozenset({"open", "street", "neon", "forest", "snow", "any"})
_ROOMS: Final[frozenset[Kind]] = frozenset({"indoor", "hall"})


def lights_for(kind: Kind, hour: Hour, weather: Weather | None) -> tuple[str, ...]:
    """Descriptions that fit, best first. Weather decides outdoors, and at the windows of a room."""
    part_of_day = "night" if hour in {"night", "blue"} else "day"
    if weather is not None and kind in _OUTDOORS:
        return WEATHER_LIGHTS[weather][part_of_day]
    if weather is not None and kind in _ROOMS:
        return WINDOW_LIGHTS[part_of_day]
    hours = LIGHTS[kind]
    return hours.get(hour) or hours["noon"]


def weather_details(kind: Kind, weather: Weather | None) -> tuple[str, ...]:
    """What the weather does to the scene, or to the windows of a room."""
    if weather is None or kind not in _OUTDOORS | _ROOMS:
        return ()
    return (WINDOW_DETAILS if kind in _ROOMS else WEATHER_DETAILS)[weather]


def outfits_for(kind: Kind, weather: Weather | None) -> tuple[str, ...]:
    """Clothes that the weather asks for, outdoors."""
    return OUTFITS.get(weather or "", ()) if kind in _OUTDOORS else ()
