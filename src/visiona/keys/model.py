"""What an API key is and what it may open. Pure."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key may be used for. Names are for ever: programs and stored keys carry them."""

    PHOTOS_READ = "photos:read"
    PHOTOS_WRITE = "photos:write"
    CLONES_READ = "clones:read"
    CLONES_WRITE = "clones:write"
    IMAGES_READ = "images:read"
    IMAGES_WRITE = "images:write"
    ACCOUNT_READ = "account:read"
