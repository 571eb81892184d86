"""How a picture is made: photographic looks, and painted, drawn or built media with their craft.

A painting has no lens. Where a prompt names a medium, its craft takes the place of the camera and its
palette the place of a photographic finish.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Medium:
    """`surroundings` is false for a mark or sticker, which has no place, pose or light of its own."""

    words: str
    bare: str
    craft: tuple[str, ...]
    palette: tuple[str, ...]
    surroundings: bool = True


MEDIA: Final = (
    Medium(
        r"logo|icon|sticker|emoji|emblem|badge|mascot|t-?shirt (?:print|design)|tattoo design",
        bare="a sticker of TRIGGER",
        craft=(
            "clean vector shapes with one confident outline weight",
            "bold silhouette readable at thumbnail size",
        ),
        palette=(
            "three flat colors on a plain pale ground",
            "high-contrast flat color, generous empty margin",
        ),
        surroundings=False,
    ),
    Medium(
        r"van gogh|post-?impressionis[tm]|impressionis[tm]|monet|renoir",
        bare="an impressionist painting of TRIGGER",
        craft=(
            "short broken strokes laid next to each other",
            "swirling directional brushwork with ridges of thick pigment",
        ),
        palette=(
            "cobalt and chrome yellow set against each other",
            "lilac shadows and butter-yellow highlights",
        ),
    ),
    Medium(
        r"oil (?:painting|portrait)|oils|oil on canvas|rembrandt|caravaggio|vermeer|old masters?",
        bare="an oil painting of TRIGGER",
        craft=(
            "visible impasto on the highlights, thin glazes in the darks",
            "lost edges and layered glazes over a toned ground",
        ),
        palette=("restrained ochre, umber and lead white", "deep browns with one note of vermilion"),
    ),
    Medium(
        r"water ?colou?rs?|aquarelle|gouache",
        bare="a watercolor of TRIGGER",
        craft=(
            "bleeding washes with crisp edges kept for the eyes",
            "granulating pigment and bare paper left for highlights",
        ),
        palette=("diluted indigo, rose and raw sienna", "a narrow palette of sea-green and warm grey"),
    ),
    Medium(
        r"charcoal|pencil|sketch|graphite|line art|line drawing|drawing|ink|crosshatch\w*",
        bare="a charcoal sketch of TRIGGER",
        craft=(
            "confident contour with cross-hatched shadow masses",
            "smudged mid-tones and a few sharp accents on toothy paper",
        ),
        palette=(
            "monochrome on cream stock, one area left unfinished",
            "graphite greys with touches of white chalk",
        ),
    ),
    Medium(
        r"ukiyo-?e|woodblock|hokusai|linocut|woodcut",
        bare="a woodblock print of TRIGGER",
        craft=(
            "flat carved shapes, tapering outlines and visible wood grain",
            "bokashi gradients behind a firm key line",
        ),
        palette=("prussian blue, madder and unbleached paper", "faded indigo with a single vermilion seal"),
    ),
    Medium(
        r"anime|manga|ghibli|cel[- ]shad(?:ed|ing)",
        bare="an anime illustration of TRIGGER",
        craft=(
            "clean tapered linework and two-tone cel shading",
            "hand-painted background plates behind crisp character lines",
        ),
        palette=("clear sky blues and leafy greens", "saturated accents over soft pastel shade"),
    ),
    Medium(
        r"comics?|comic book|graphic novel|marvel style|cartoon|caricature",
        bare="a comic book panel of TRIGGER",
        craft=(
            "heavy spotted blacks, dynamic foreshortening and halftone dots",
            "bold brush inks with speed lines",
        ),
        palette=("four-color primaries on slightly yellowed newsprint", "limited teal and orange flats"),
    ),
    Medium(
        r"pop art|warhol|lichtenstein|banksy|street art|graffiti|mural",
        bare="a pop art portrait of TRIGGER",
        craft=("screen-printed layers slightly out of register", "stencil edges with overspray and drips"),
        palette=("clashing pink, cyan and lemon", "black plus two fluorescent inks"),
    ),
    Medium(
        r"pixel art|8-?bit|16-?bit|lego|voxel|minecraft",
        bare="pixel art of TRIGGER",
        craft=("a coarse grid with deliberate dithering", "chunky blocks and a strong readable outline"),
        palette=("a sixteen-color ramp with one hot accent", "cool dusk ramp and warm window squares"),
    ),
    Medium(
        r"3d render|3d|pixar|disney|claymation|clay|figurine|funko|low[- ]poly|unreal engine|octane|blender",
        bare="a 3D animated character of TRIGGER",
        craft=(
            "rounded appealing shapes with subsurface glow",
            "tactile sculpted surfaces with small fingerprints of the maker",
        ),
        palette=("candy-bright accents over warm neutrals", "toy-like saturation and soft ambient occlusion"),
    ),
    Medium(
        r"stained glass|mosaic|tapestry|embroider(?:y|ed)|origami|paper ?cut|collage",
        bare="a stained glass window of TRIGGER",
        craft=(
            "shapes simplified to jewel-like pieces with dark seams",
            "hand-set fragments, each catching the light differently",
        ),
        palette=("ruby, cobalt and amber", "emerald and gold against near black"),
    ),
    Medium(
        r"sculpture|marble (?:bust|statue)|bust|statue|bronze (?:bust|statue)",
        bare="a marble bust of TRIGGER",
        craft=(
            "chisel marks left in the drapery, polished planes on the face",
            "fine veining running across the shoulder",
        ),
        palette=("cool white stone before a dark niche", "verdigris over dull bronze"),
    ),
    Medium(
        r"art nouveau|mucha|art deco poster|travel poster|vintage poster|poster|propaganda",
        bare="a vintage poster of TRIGGER",
        craft=(
            "sinuous outlines inside an ornamental border",
            "flat lithographic areas and a strong diagonal",
        ),
        palette=("muted sage, cream and burnt orange", "navy, coral and aged paper"),
    ),
    Medium(
        r"surreal(?:is[tm])?|dal[ií]|magritte|cubis[tm]|picasso|abstract|double exposure",
        bare="a surrealist painting of TRIGGER",
        craft=(
            "impossible scale rendered with precise realism",
            "interlocking facets seen from several angles at once",
        ),
        palette=("powder-blue sky against burnt sienna", "chalky pinks and deep ultramarine"),
    ),
    Medium(
        r"paint(?:ing|ed)|illustration|illustrated|concept art|digital art|fresco|artwork|storybook",
        bare="a painting of TRIGGER",
        craft=(
            "loose confident brushwork tightening around the face",
            "broad painterly shapes, detail saved for the focal point",
        ),
        palette=("a limited harmony of muted teal and warm sand", "dusky plum set off by pale gold"),
    ),
)

LENSES: Final = {
    "environment": (
        "35mm lens at eye level, horizon in the lower third",
        "28mm lens a few steps back, giving the setting room",
        "40mm lens at f/4, the figure placed on the left third",
    ),
    "portrait": (
        "85mm lens at f/1.8, focus on the eyes",
        "chest-up framing on an 85mm lens, backdrop melting away",
        "75mm lens at f/2, three-quarter-length framing",
    ),
    "headshot": (
        "85mm lens at f/2.8, head-and-shoulders crop",
        "105mm lens, tight crop with catchlights in both eyes",
    ),
    "street": ("50mm lens at f/2, documentary framing", "40mm lens from hip height, slightly off-center"),
    "action": (
        "200mm telephoto, fast shutter freezing the peak of the movement",
        "low 135mm tracking shot, surroundings streaked by speed",
    ),
    "grand": (
        "24mm lens from a low angle, small figure against vast scale",
        "21mm lens, strong leading lines",
    ),
    "stage": ("135mm lens from the pit, flare kept in frame", "70mm lens, tilted slightly upward"),
    "underwater": ("16mm lens behind a dome port, looking up",),
}

FRAMINGS: Final = (
    (
        r"selfie",
        ("phone held at arm's length, slightly above", "front camera close by, faint barrel stretch"),
    ),
    (r"drone|aerial|bird'?s[- ]eye|top[- ]down|from above|overhead", ("24mm lens tilted steeply down",)),
    (r"close[- ]?up|macro|face shot|extreme close", ("100mm lens at f/4, every lash and pore resolved",)),
    (r"full[- ]body|head to toe|full[- ]length", ("50mm lens from knee height, shoes inside the frame",)),
    (
        r"wide[- ]?(?:shot|angle)|panoram\w+|establishing|landscape",
        ("20mm lens, deep focus from front to back",),
    ),
    (
        r"from behind|back to (?:the )?camera|silhouette",
        ("50mm lens, outline clean against the brighter background",),
    ),
    (r"low[- ]angle|from below", ("28mm lens close to the ground",)),
)

FINISHES: Final = {
    "natural": (
        "natural skin texture and quiet, filmic color",
        "true-to-life tones with a trace of grain",
        "gently graded, highlights held back",
        "honest skin detail, muted greens and browns",
        "understated contrast, fabric and skin rendered crisply",
    ),
    "clean": ("clean editorial color and fine skin detail", "neutral whites, crisp fabric texture"),
    "epic": (
        "cinematic grade, deep shadows and burnished metal tones",
        "desaturated palette with one rich accent",
    ),
    "night": ("saturated night palette with clean blacks", "inky shadows, fine high-ISO grain"),
    "vintage": ("Kodachrome-like color with gentle grain", "slightly faded print tones, soft halation"),
    "dreamy": ("pastel haze with a gentle bloom on the highlights", "airy tones, diffused edges"),
    "mono": ("rich blacks, silver midtones and fine grain", "deep tonal contrast on baryta paper"),
}

EXPRESSIONS: Final = {
    "easy": ("with a relaxed half-smile", "with an easy, open smile", "looking off to one side, at ease"),
    "calm": ("with a calm, unhurried gaze", "with a quiet, thoughtful expression"),
    "confident": ("with a calm, confident expression", "with a warm, assured look straight to camera"),
    "heroic": ("with a steady, resolute gaze", "with jaw set and eyes on the distance"),
    "focused": ("eyes locked ahead in concentration", "with a fierce, concentrated look"),
    "mysterious": ("with a guarded, knowing look", "with half the face held in shadow"),
    "joyful": ("with a wide, unguarded smile", "eyes creased with laughter"),
}
