"""What the metadata of a generated image says: IPTC's fields for AI, in XMP.

Nothing in it is about the person: no prompt, no name, no id, no time.
"""

import re
from importlib.metadata import version
from typing import Final

VERSION: Final = version("visiona")
_SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SAYS_AI = re.compile(
    re.escape(_SOURCE_TYPES).encode() + rb"(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia)\b"
)

PACKET: Final = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPES}trainedAlgorithmicMedia"
 Iptc4xmpExt:AISystemUsed="Visiona"
 Iptc4xmpExt:AISystemVersionUsed="{VERSION}"
 photoshop:Credit="Made with AI by Visiona"/>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>""".encode()


def says_ai(packet: bytes) -> bool:
    """Whether an XMP packet declares its picture to be made by a trained model, or with one."""
    return _SAYS_AI.search(packet) is not None
