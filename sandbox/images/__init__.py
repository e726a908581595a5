"""Builds the sandbox image on an engine: from files of this project to a tagged image."""

from sandbox.images.build import DEFAULT_TAG, BuiltImage, Variant, build_image, image_is_current

__all__ = ["DEFAULT_TAG", "BuiltImage", "Variant", "build_image", "image_is_current"]
