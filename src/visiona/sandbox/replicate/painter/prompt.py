"""What a prompt asks for, as far as a painter without a language model can tell.

Words are looked up in small vocabularies: where the person is, how the picture is made, what light
and colours it has. What is not recognised still counts: its hash chooses the palette and every
random detail, so that no two prompts give the same picture.
"""

import hashlib
import re
from dataclasses import dataclass

from visiona.sandbox.replicate.painter.raster import Colour

# Places that the words around them would hide: an astronaut on the moon stands on the ground.
_PRECISE_PLACES: tuple[tuple[str, str], ...] = (
    ("moon", r"on the moon|lunar|moon ?(?:walk|base|landing|surface|dust)|earth ?ris(?:e|ing)"),
)

_PLACES: tuple[tuple[str, str], ...] = (
    ("neon_city", r"cyber ?punk|neon|blade runner|futuristic city|synthwave|vaporwave|tokyo|hologra"),
    ("space", r"space|galax|nebula|cosm|planet|stars?\b|starry|moon\b|mars\b|astronaut|orbit|universe|alien"),
    ("underwater", r"under ?water|ocean floor|reef|mermaid|diving|aquari|deep sea"),
    ("beach", r"beach|sea\b|seaside|ocean|coast|tropical|palm|island|hawaii|surf"),
    ("snow", r"snow|winter|ski\b|skiing|ice\b|icy|arctic|frozen|christmas|blizzard|glacier"),
    ("mountains", r"mountain|alps|hik|summit|peak|himalaya|valley|canyon|cliff|fjord"),
    ("desert", r"desert|dune|sahara|sand\b|egypt|western|cowboy|nomad|pyramid"),
    ("autumn", r"autumn|fall leaves|in fall|october|harvest|halloween|maple"),
    ("forest", r"forest|wood(s|land)\b|jungle|tree|druid|rainforest|moss|camping|fairy ?tale|wizard|elf\b"),
    ("garden", r"garden|flower|rose|meadow|blossom|sakura|tulip|park\b|field|floral|botanical"),
    ("stage", r"concert|stage|rock ?star|singer|guitar|dj\b|spotlight|festival|theat|superhero|disco"),
    (
        "city_night",
        r"city|street|skyline|urban|new york|manhattan|london|paris|rooftop|detective|taxi|downtown",
    ),
    ("office", r"office|linkedin|business|ceo\b|corporate|headshot|startup|meeting|lawyer|doctor"),
    (
        "library",
        r"library|books|bookshop|reading|cafe|coffee|restaurant|bar\b|pub\b|kitchen|fireplace|cozy|cosy|tavern|professor",
    ),
    ("sky", r"sky\b|clouds|heaven|angel|pilot|flying|plane\b|balloon|wings"),
    ("castle", r"castle|king\b|queen|knight|medieval|prince|royal|throne|viking|warrior|dragon|samurai"),
)

# Words that set a scene only where no place was named.
_OCCASIONS: tuple[tuple[str, str], ...] = (
    ("beach", r"sunset|sunrise|golden hour|dusk|summer|holiday|vacation"),
    ("city_night", r"night|party|noir|rain|storm|umbrella"),
    ("forest", r"nature|fantasy|adventure"),
    ("garden", r"spring\b|picnic|wedding"),
    (
        "studio",
        r"studio|portrait|backdrop|passport|close-?up|fashion|magazine|vogue|elegant|suit\b|photo ?shoot",
    ),
)

_RAIN = re.compile(r"\b(?:rain(?!bow|forest)|storm|downpour|drizzl|monsoon|umbrella)")

_STYLES: tuple[tuple[str, str], ...] = (
    ("pencil", r"pencil|sketch|drawing|drawn|charcoal|graphite|line art|ink\b|engraving|etching"),
    ("watercolor", r"water ?colou?r|aquarelle|gouache|wash painting|storybook|illustration"),
    ("oil", r"oil|painting|painted|van gogh|impressionis|monet|brush ?stroke|canvas|acrylic|impasto|pastel"),
    ("master", r"renaissance|rembrandt|baroque|caravaggio|old master|vermeer|da vinci|classical|victorian"),
    ("pop", r"pop ?art|warhol|lichtenstein|silk ?screen|poster|propaganda|hope poster"),
    ("comic", r"comic|graphic novel|marvel|superhero|cartoon|halftone|manga"),
    ("anime", r"anime|ghibli|cel[- ]shad|disney|pixar|3d render|chibi|toon"),
    ("noir", r"noir|black[- ]and[- ]white|monochrome|b&w|b/w|greyscale|grayscale|film still|detective"),
    (
        "vintage",
        r"vintage|retro|sepia|old photo|1[89]\d0s|polaroid|film photo|analog|kodak|daguerreotype|70s|80s|50s",
    ),
    ("pixel", r"pixel|8[- ]?bit|16[- ]?bit|retro game|minecraft|voxel"),
    ("lowpoly", r"low[- ]?poly|polygon|geometric|origami|facet|cubis|mosaic|stained glass"),
    ("neon", r"neon|cyber ?punk|synthwave|vaporwave|blade runner|hologra|glitch|ultraviolet"),
)

_LIGHTS: tuple[tuple[str, str], ...] = (
    ("golden", r"golden|sunset|sunrise|warm light|candle|firelight|honey"),
    ("dramatic", r"dramatic|moody|dark|gothic|chiaroscuro|low[- ]key|rembrandt|intense|epic|mysterious"),
    ("cold", r"cold|icy|blue hour|moonlight|winter|steel|frozen"),
    ("bright", r"bright|high[- ]key|airy|soft light|cheerful|happy|pastel|sunny|clean|minimal"),
)

_COLOURS: dict[str, Colour] = {
    "red": (0.80, 0.14, 0.13),
    "crimson": (0.66, 0.06, 0.16),
    "orange": (0.95, 0.50, 0.12),
    "yellow": (0.96, 0.80, 0.20),
    "gold": (0.85, 0.65, 0.22),
    "green": (0.18, 0.56, 0.28),
    "emerald": (0.05, 0.55, 0.40),
    "olive": (0.45, 0.47, 0.20),
    "teal": (0.06, 0.52, 0.54),
    "turquoise": (0.18, 0.75, 0.72),
    "cyan": (0.15, 0.78, 0.88),
    "blue": (0.14, 0.34, 0.78),
    "navy": (0.07, 0.12, 0.32),
    "purple": (0.46, 0.20, 0.68),
    "violet": (0.52, 0.28, 0.82),
    "lavender": (0.72, 0.64, 0.88),
    "magenta": (0.86, 0.14, 0.62),
    "pink": (0.95, 0.52, 0.66),
    "brown": (0.42, 0.27, 0.16),
    "beige": (0.84, 0.76, 0.64),
    "white": (0.93, 0.93, 0.92),
    "grey": (0.50, 0.51, 0.53),
    "gray": (0.50, 0.51, 0.53),
    "black": (0.07, 0.07, 0.08),
}

_SUITED_SCENES: dict[str, tuple[str, ...]] = {
    "anime": ("sky", "garden"),
    "comic": ("city_night", "sky"),
    "lowpoly": ("mountains", "desert"),
    "master": ("studio",),
    "neon": ("neon_city",),
    "noir": ("city_night",),
    "oil": ("garden", "mountains", "autumn"),
    "pencil": ("sky", "studio"),
    "pixel": ("castle", "mountains"),
    "vintage": ("studio", "garden"),
    "watercolor": ("garden", "mountains", "sky"),
}

_UNSAFE = re.compile(r"\b(nsfw|nude|nudity|naked|porn\w*|topless|explicit|gore)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Brief:
    """A prompt as the painter understands it; `key` carries all that was not understood."""

    scene: str
    style: str
    light: str
    rain: bool
    colours: tuple[Colour, ...]
    key: int


def unsafe(prompt: str) -> bool:
    """Whether the safety check refuses every picture of this prompt."""
    return _UNSAFE.search(prompt) is not None


def read(prompt: str) -> Brief:
    text = prompt.casefold()
    style = _first(_STYLES, text) or "photo"
    key = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8])
    vocabularies = (_PRECISE_PLACES, _PLACES, _OCCASIONS)
    named = next((scene for places in vocabularies if (scene := _first(places, text))), None)
    return Brief(
        scene=named or _scene_for(style, key),
        style=style,
        light=_first(_LIGHTS, text) or "natural",
        rain=_RAIN.search(text) is not None,
        colours=tuple(_COLOURS[word] for word in re.findall(r"[a-z]+", text) if word in _COLOURS),
        key=key,
    )


def _first(vocabulary: tuple[tuple[str, str], ...], text: str) -> str | None:
    """The entry that is named first: what a person says comes before what is added to it."""
    found = [
        (match.start(), name)
        for name, pattern in vocabulary
        if (match := re.search(rf"\b(?:{pattern})", text)) is not None
    ]
    return min(found)[1] if found else None


def _scene_for(style: str, key: int) -> str:
    """Where a person is when only the manner of the picture was said: somewhere that suits it."""
    suited = _SUITED_SCENES.get(style, ("abstract",))
    return suited[key % len(suited)]
