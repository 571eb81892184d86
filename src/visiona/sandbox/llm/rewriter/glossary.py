"""Short prompts in German, French, Spanish, Italian or Portuguese, said in English.

A model translates anything; a glossary cannot. It translates a prompt whose every word it knows, and
leaves any other as it was written, rather than lose a word that somebody meant.
"""

import re
from functools import cache
from typing import Final

_GERMAN: Final = """
am strand=on the beach|am meer=by the sea|im wald=in the forest|in den bergen=in the mountains
im garten=in a garden|im schnee=in the snow|im regen=in the rain|in der stadt=in the city
im büro=in an office|im café=in a café|in der wüste=in the desert|im weltraum=in outer space
auf dem mond=on the moon|zu weihnachten=at Christmas|bei nacht=at night|nachts=at night
am abend=in the evening|am morgen=in the morning|im winter=in winter|bei sonnenuntergang=at sunset
bei sonnenaufgang=at sunrise|im herbst=in autumn|auf einem pferd=on a horse|als=as|ein=a|eine=a|einem=a
einer=a|einen=a|der=the|die=the|das=the|dem=the|mit=with|und=and|von=of|in=in|ritter=knight
wikinger=viking|könig=king|königin=queen|pirat=pirate|astronaut=astronaut|superheld=superhero
samurai=samurai|zauberer=wizard|koch=chef|ärztin=doctor|arzt=doctor|hund=dog|katze=cat|lächelnd=smiling
porträt=portrait|foto=photo|bewerbungsfoto=professional headshot|ölgemälde=oil painting
aquarell=watercolor|bleistiftzeichnung=pencil drawing|im anzug=in a suit|schwarzweiß=black and white
"""
_FRENCH: Final = """
à la plage=at the beach|sur la plage=on the beach|sur une plage=on a beach|en forêt=in the forest
à la mer=by the sea|dans la forêt=in the forest|à la montagne=in the mountains
dans un jardin=in a garden|dans la neige=in the snow|sous la pluie=in the rain|en ville=in the city
au bureau=in an office|au café=in a café|dans un café=in a café|dans le désert=in the desert
dans l'espace=in outer space|sur la lune=on the moon|à noël=at Christmas|en hiver=in winter
la nuit=at night|de nuit=at night|le soir=in the evening|le matin=in the morning|en automne=in autumn
à cheval=on a horse|au coucher du soleil=at sunset|au lever du soleil=at sunrise|à paris=in Paris
en costume=in a suit|en=as|un=a|une=a|le=the|la=the|les=the|avec=with|et=and|de=of|comme=as
chevalier=knight|roi=king|reine=queen|pirate=pirate|astronaute=astronaut|super-héros=superhero
samouraï=samurai|sorcier=wizard|chef cuisinier=chef|médecin=doctor|chien=dog|chat=cat|souriant=smiling
souriante=smiling|portrait=portrait|photo=photo|peinture à l'huile=oil painting|aquarelle=watercolor
dessin au crayon=pencil drawing|en noir et blanc=in black and white
"""
_SPANISH: Final = """
en la playa=on the beach|en una playa=on a beach|en el bosque=in the forest
en la montaña=in the mountains|en un jardín=in a garden|en la nieve=in the snow
bajo la lluvia=in the rain|en la ciudad=in the city|junto al mar=by the sea|en la oficina=in an office
en un café=in a café|en el desierto=in the desert|en el espacio=in outer space|en la luna=on the moon
en navidad=at Christmas|de noche=at night|por la noche=at night|en invierno=in winter
por la mañana=in the morning|al atardecer=at sunset|al amanecer=at sunrise|en otoño=in autumn
a caballo=on a horse|en traje=in a suit|como=as|un=a|una=a|el=the|la=the|con=with|y=and|de=of
caballero=knight|rey=king|reina=queen|vikingo=viking|pirata=pirate|astronauta=astronaut
superhéroe=superhero|samurái=samurai|mago=wizard|cocinero=chef|médico=doctor|perro=dog|gato=cat
sonriendo=smiling|retrato=portrait|foto=photo|pintura al óleo=oil painting|acuarela=watercolor
dibujo a lápiz=pencil drawing|en blanco y negro=in black and white
"""
_ITALIAN: Final = """
in spiaggia=on the beach|sulla spiaggia=on the beach|nel bosco=in the forest
in montagna=in the mountains|al mare=by the sea|in un giardino=in a garden|nella neve=in the snow
sotto la pioggia=in the rain|in città=in the city|in ufficio=in an office|in un caffè=in a café
nel deserto=in the desert|nello spazio=in outer space|sulla luna=on the moon|a natale=at Christmas
di notte=at night|al mattino=in the morning|al tramonto=at sunset|all'alba=at sunrise
in autunno=in autumn|in inverno=in winter|a cavallo=on a horse|come=as|un=a|una=a|il=the|la=the|con=with
e=and|di=of|cavaliere=knight|re=king|regina=queen|vichingo=viking|pirata=pirate|astronauta=astronaut
supereroe=superhero|samurai=samurai|mago=wizard|cuoco=chef|medico=doctor|cane=dog|gatto=cat
sorridente=smiling|ritratto=portrait|foto=photo|acquerello=watercolor|dipinto a olio=oil painting
disegno a matita=pencil drawing|in bianco e nero=in black and white|a venezia=in Venice
"""
_PORTUGUESE: Final = """
na praia=on the beach|numa praia=on a beach|na floresta=in the forest|na montanha=in the mountains
à beira-mar=by the sea|num jardim=in a garden|na neve=in the snow|na chuva=in the rain
na cidade=in the city|no escritório=in an office|num café=in a café|no deserto=in the desert
no espaço=in outer space|na lua=on the moon|no natal=at Christmas|à noite=at night
de manhã=in the morning|ao pôr do sol=at sunset|ao nascer do sol=at sunrise|no outono=in autumn
no inverno=in winter|a cavalo=on a horse|como=as|um=a|uma=a|o=the|a=the|com=with|e=and|de=of
cavaleiro=knight|rei=king|rainha=queen|viking=viking|pirata=pirate|astronauta=astronaut
super-herói=superhero|samurai=samurai|mago=wizard|cozinheiro=chef|médico=doctor|cão=dog|cachorro=dog
gato=cat|sorrindo=smiling|retrato=portrait|foto=photo|pintura a óleo=oil painting|aquarela=watercolor
desenho a lápis=pencil drawing|em preto e branco=in black and white
"""


_TABLES: Final = (_GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE)
_MARKERS: Final = (
    r"im|ein|eine[mnr]?|und|mit|auf|bei|dans|sur|une|avec|et|au|el|con|una|como|il|nel|nella|sulla|com|"
    r"uma|na|numa?"
)


def looks_foreign(text: str) -> bool:
    """Whether `text` seems to be in a language that this package cannot read."""
    if any(character.isalpha() and character > "\u024f" for character in text):
        return True
    return re.search(rf"(?<!\w)(?:{_MARKERS}|{_phrases()})(?!\w)", text, re.IGNORECASE) is not None


@cache
def _phrases() -> str:
    entries = {entry for table in _TABLES for entry in _entries(table)}
    return "|".join(re.escape(entry) for entry in sorted(entries) if " " in entry)


def in_english(text: str, trigger_word: str) -> str:
    """`text` in English where one glossary covers all of it beside the trigger word, else `text`."""
    words = text.replace("\u2019", "'").split()
    for table in _TABLES:
        translated = _translated(words, _entries(table), trigger_word)
        if translated is not None:
            return translated
    return text


@cache
def _entries(table: str) -> dict[str, str]:
    return dict(entry.split("=") for entry in re.split(r"[|\n]", table.strip()))


def _translated(words: list[str], entries: dict[str, str], trigger_word: str) -> str | None:
    """The longest known phrase first; None as soon as a word is unknown."""
    english: list[str] = []
    place = 0
    while place < len(words):
        bare = words[place].rstrip(",.")
        if bare == trigger_word:
            english.append(words[place])
            place += 1
            continue
        length = next((n for n in (4, 3, 2, 1) if _phrase(words, place, n) in entries), 0)
        if not length:
            return None
        comma = "," if words[place + length - 1].endswith(",") else ""
        english.append(entries[_phrase(words, place, length)] + comma)
        place += length
    return " ".join(english)


def _phrase(words: list[str], place: int, length: int) -> str:
    chosen = words[place : place + length]
    return " ".join(chosen).casefold().rstrip(",.") if len(chosen) == length else ""
