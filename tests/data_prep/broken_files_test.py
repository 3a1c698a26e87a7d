"""Image and mask files that are broken, each with what the user is told: file, value, count, and the fix."""

import numpy as np
import pytest
from PIL import Image

from data_prep import raw
from data_prep.label_map import LabelMap
from tests.data_prep.breaking import CLASSES, file, flipped, mask, photo, png_of, sixteen_bits

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"


def read(image=None, label=None, void=(255,)):
    """Reading a pair of raw files whose bytes are these."""

    def case(where):
        pair = raw.RawPair("a", where / "a.png", where / "a_mask.png")
        pair.image.write_bytes(file(photo()) if image is None else image)
        pair.mask.write_bytes(file(mask()) if label is None else label)
        with pytest.raises(raw.Bad) as error:
            raw.read_pair(pair, LabelMap.identity(len(CLASSES), void))
        return str(error.value)

    return case


IMAGE, MASK = file(photo()), file(mask())
P, M = "a.png: ", "a_mask.png: "

CASES = {
    # Images.
    "image is empty": (read(image=b""), P + "unreadable or truncated image (0 bytes"),
    "image ends in the header": (read(image=IMAGE[:20]), P + "unreadable or truncated image (20 bytes"),
    "image ends in the pixels": (read(image=IMAGE[:300]), P + "unreadable or truncated image (300 bytes"),
    "image ends after the header": (read(image=IMAGE[:33]), P + "unreadable or truncated image"),
    "image has a flipped byte": (read(image=flipped(IMAGE, 200)), P + "unreadable or truncated image"),
    "JPEG is cut off": (read(image=file(photo(), "JPEG")[:-40]), P + "unreadable or truncated image"),
    "image is text": (read(image=b"404 not found"), P + "unreadable or truncated image (13 bytes"),
    "image is a Git LFS pointer": (read(image=LFS), P + f"unreadable or truncated image ({len(LFS)} bytes"),
    "image is a GIF": (
        read(image=file(photo(), "GIF")),
        P + "the image is a GIF by its content. Export it as PNG or JPEG",
    ),
    "image is a JPEG 2000": (read(image=file(photo(), "JPEG2000")), P + "the image is a JPEG2000 by its content"),
    "image is a TIFF of floats": (read(image=file(mask().astype(np.float32), "TIFF")), P + "image of colour mode F"),
    "image is a TIFF of 16 bits": (read(image=file(mask().astype(np.uint16), "TIFF")), P + "image of colour mode I;16"),
    "image is a TIFF of two pages": (
        read(image=file(photo(), "TIFF", save_all=True, append_images=[Image.fromarray(photo(1))])),
        P + "the file holds 2 pictures. Save the one",
    ),
    "image is an animation": (
        read(image=file(photo(), "WEBP", save_all=True, append_images=[Image.fromarray(photo(1))])),
        P + "the file holds 2 pictures. Save the one",
    ),
    "image is an animated PNG": (  # where Pillow and OpenCV show different pictures
        read(image=file(photo(), "PNG", save_all=True, append_images=[Image.fromarray(photo(1))], default_image=True)),
        P + "the file holds 2 pictures. Save the one",
    ),
    "image claims 10 gigapixels": (
        read(image=png_of(100_000, 100_000)),
        P + "the image is too large: 178,956,970 pixels",
    ),
    "image is the mask": (read(image=file(mask())), P + "this image is a mask: it shows the classes of its mask "),
    "image is the mask with a palette": (
        read(image=file(mask(), palette=[0, 0, 0, 90, 9, 9, 1, 60, 1])),
        P + "this image is a mask: it shows the classes of its mask ",
    ),
    "image is the mask as grey RGB": (
        read(image=file(Image.fromarray(mask(0, 1, 255)).convert("RGB")), label=file(mask(0, 1, 255))),
        P + "this image is a mask: it shows the classes of its mask ",
    ),
    "image has no width": (read(image=png_of(0, 12)), P + "unreadable or truncated image"),
    "image is CMYK": (read(image=file(Image.new("CMYK", (16, 12)), "JPEG")), P + "image of colour mode CMYK"),
    "image is grey with alpha": (read(image=file(Image.new("LA", (16, 12)))), P + "image of colour mode LA"),
    "image is black and white": (read(image=file(Image.new("1", (16, 12)))), P + "image of colour mode 1"),
    "image is grey of 16 bits": (
        read(image=sixteen_bits(mask())),
        P + "image of colour mode I;16, which is grey of more than 8 bits. Convert all images to 8 bits by one scale",
    ),
    "image is RGB of 16 bits": (read(image=sixteen_bits(photo())), P + "image of 16 bits per channel"),
    "image is turned by EXIF and its mask is not": (
        read(image=file(photo(), "JPEG", exif=6)),
        "12x16 (width x height); resize the mask with nearest neighbour, or fix the pairing. The photo is turned",
    ),
    # Masks.
    "mask is empty": (read(label=b""), M + "unreadable or truncated mask (0 bytes"),
    "mask is cut off": (read(label=MASK[:50]), M + "unreadable or truncated mask (50 bytes"),
    "mask is a Git LFS pointer": (read(label=LFS), M + "unreadable or truncated mask"),
    "mask is a JPEG": (
        read(label=file(mask(), "JPEG")),
        M + "the mask is a JPEG by its content. JPEG changes the values of pixels. Export it as PNG.",
    ),
    "mask is a GIF": (read(label=file(mask(), "GIF")), M + "the mask is a GIF by its content. Export it as PNG"),
    "mask is a float TIFF": (
        read(label=file(mask().astype(np.float32), "TIFF")),
        M + "the mask is a TIFF by its content",
    ),
    "mask is a WebP": (read(label=file(mask(), "WEBP", lossless=True)), M + "the mask is a WEBP by its content"),
    "mask claims 10 gigapixels": (
        read(label=png_of(100_000, 100_000)),
        M + "the mask is too large: 178,956,970 pixels",
    ),
    "mask is RGB": (read(label=file(photo())), M + "the mask has 3 channels (mode RGB)"),
    "mask is RGBA": (read(label=file(Image.new("RGBA", (16, 12)))), M + "the mask has 4 channels (mode RGBA)"),
    "mask is RGB of 16 bits": (read(label=sixteen_bits(photo())), M + "colour mask of 16 bits per channel, of which"),
    "mask is grey with alpha": (read(label=file(Image.new("LA", (16, 12)))), M + "the mask has 2 channels (mode LA)"),
    "mask is smaller": (read(label=file(mask(size=(6, 8)))), M + "the mask is 8x6 but its image"),
    "mask is on its side": (read(label=file(mask(size=(16, 12)))), M + "the mask is 12x16 but its image"),
    "mask lacks a row": (read(label=file(mask(size=(11, 16)))), M + "the mask is 16x11 but its image"),
    "mask is turned by EXIF": (read(label=file(mask(), exif=3)), M + "EXIF orientation 3"),
    "mask has a value too many": (read(label=file(mask(0, 1, 7))), M + "label value 7 (48 pixels)"),
    "mask has two values too many": (read(label=file(mask(0, 9, 7, 1))), "label value 7 (48 pixels), 9 (48 pixels)"),
    "mask is numbered from 1": (read(label=file(mask(1, 2, 3))), M + "label value 3 (48 pixels)"),
    "mask is grey levels": (read(label=file(mask(0, 128, 255))), M + "label value 128 (72 pixels)"),
    "mask is grey levels, and the fix": (
        read(label=file(mask(0, 128, 255))),
        "--classes=FILE can say so: `- {name: …, v",
    ),
    "mask has a void value of its own": (read(label=file(mask(0, 1, 254))), M + "label value 254 (48 pixels)"),
    "mask has another void value": (read(label=file(mask(0, 11)), void=(12,)), M + "label value 11 ("),
    "mask of 16 bits has large values": (
        read(label=file(mask().astype(np.uint16) * 300)),
        "label value 300 (72 pixels), 600 (",
    ),
    "palette mask has an index too many": (
        read(label=file(mask(0, 3), palette=[0, 0, 0, 9, 9, 9, 1, 1, 1, 2, 2, 2])),
        M + "label value 3 (",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_broken_file_is_told(name, tmp_path):
    case, message = CASES[name]
    assert message in case(tmp_path)


def test_what_is_whole_passes(tmp_path):
    """The cases above are told for what they break, not for what they share."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        read()(tmp_path)
