"""What is no picture that can be read is called by its name, with what to do about it."""

import bz2
import io
import lzma
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage

from model.formats import is_binary
from model.images import UndecodableImage, decode
from tests.model.test_images import saved

PLAIN = PillowImage.new("RGB", (32, 32), (200, 30, 90))
REMEDIES = (
    "download the picture",
    "Convert it to JPEG",
    "Encode the pixels as JPEG",
    "as JPEG",
    "Send ",
    "Unpack it",
    "Save the page",
)


def iso(*brands: bytes) -> bytes:
    """Return the start of an ISO file: a major brand, a version and more brands."""
    body = brands[0] + bytes(4) + b"".join(brands[1:])
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + bytes(100)


BINARIES = {
    "HEIC of an iPhone": (iso(b"heic", b"mif1", b"heic"), "a HEIC picture"),
    "HEIC by its second brand": (iso(b"mif1", b"mif1", b"heic"), "a HEIC picture"),
    "HEIC sequence": (iso(b"msf1", b"hevc"), "a HEIC picture"),
    "MP4": (iso(b"isom", b"iso2", b"avc1", b"mp41"), "an MP4 or QuickTime video"),
    "QuickTime": (iso(b"qt  "), "an MP4 or QuickTime video"),
    "AVI": (b"RIFF" + struct.pack("<I", 1000) + b"AVI LIST", "an AVI video"),
    "WebM": (b"\x1a\x45\xdf\xa3" + bytes(20), "a Matroska or WebM video"),
    "BMP": (saved(PLAIN, "BMP"), "a BMP picture"),
    "TIFF": (saved(PLAIN, "TIFF"), "a TIFF or raw picture"),
    "TIFF of big ends": (b"MM\0*" + bytes(20), "a TIFF or raw picture"),
    "GIF": (saved(PLAIN, "GIF"), "a GIF picture"),
    "JPEG 2000": (saved(PLAIN, "JPEG2000"), "a JPEG 2000 picture"),
    "JPEG XL": (b"\xff\x0a" + bytes(20), "a JPEG XL picture"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "a JPEG XL picture"),
    "Photoshop": (b"8BPS\0\1" + bytes(20), "a Photoshop picture"),
    "PDF": (b"%PDF-1.7\n", "a PDF document"),
    "ZIP": (b"PK\3\4" + bytes(20), "a ZIP archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "gzip data"),
    "HEIC that may be read as AVIF": (iso(b"heic", b"mif1", b"avif"), "a HEIC picture"),
    "Canon raw": (iso(b"crx ", b"crx ", b"isom"), "a raw picture"),
    "icon": (saved(PLAIN, "ICO"), "an icon"),
    "cursor": (b"\0\0\2\0\1\0" + bytes(20), "an icon"),
    "icons of a Mac": (saved(PLAIN, "ICNS"), "an icon"),
    "texture": (saved(PLAIN, "DDS"), "a DDS texture"),
    "OpenEXR": (b"\x76\x2f\x31\x01" + bytes(20), "an OpenEXR picture"),
    "DICOM": (bytes(128) + b"DICM", "a DICOM picture"),
    "NumPy": (b"\x93NUMPY\1\0v\0{'descr'", "a NumPy array"),
    "empty ZIP": (b"PK\5\6" + bytes(18), "a ZIP archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "an archive"),
    "tar": (b"a.jpg".ljust(257, b"\0") + b"ustar\0", "an archive"),
    "zlib": (zlib.compress(saved(PLAIN, "JPEG")), "compressed data"),
    "bzip2": (bz2.compress(saved(PLAIN, "JPEG")), "compressed data"),
    "xz": (lzma.compress(saved(PLAIN, "JPEG")), "compressed data"),
    "Flash video": (b"FLV\1" + bytes(20), "an FLV, Windows Media or Ogg video"),
    "JPEG as Latin-1": (saved(PLAIN, "JPEG").decode("latin-1").encode(), "a picture that was read"),
    "JPEG as UTF-8": (saved(PLAIN, "JPEG").decode(errors="replace").encode(), "a picture that was"),
    "PNG as Latin-1": (saved(PLAIN, "PNG").decode("latin-1").encode(), "a picture that was read"),
    "PNG as UTF-8": (saved(PLAIN, "PNG").decode(errors="replace").encode(), "a picture that was"),
    "PNG without line breaks": (saved(PLAIN, "PNG").replace(b"\r\n", b""), "a PNG whose line"),
    "PNG of a text mode": (saved(PLAIN, "PNG").replace(b"\r\n", b"\n"), "a PNG whose line"),
}
TEXTS = {
    "SVG": (b"\n<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    "SVG with a prologue": (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
    "SVG of a drawing program": (b"<!-- Generator: x -->\n<svg/>", "an SVG drawing"),
    "SVG with a document type": (b'<!DOCTYPE svg PUBLIC "-//W3C">\n<svg/>', "an SVG drawing"),
    "XML": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML document"),
    "HTML with a comment": (b"<!-- x -->\n<html><svg>", "an HTML page"),
    "PostScript": (b"%!PS-Adobe-3.0", "a PostScript document"),
    "PNM": (saved(PLAIN, "PPM"), "a PNM picture"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "URL of a store": (b"s3://bucket/a.jpg", "an address"),
    "URL of a file": (b"file:///home/me/a", "an address"),
    "URL of a page's blob": (b"blob:http://localhost/1-2", "an address"),
    "path with blanks": ("/home/me/Müller 1.HEIC".encode(), "the name of a file"),
    "HTML": (b"\r\n<!DOCTYPE html>\n<html>", "an HTML page"),
    "URL": (b"HTTPS://site.example/a.jpg", "an address"),
    "URL in quotes": (b'"http://site.example/"', "an address"),
    "path": (b"C:\\Users\\me\\face.JPEG\r\n", "the name of a file"),
}


@pytest.mark.parametrize("name", BINARIES | TEXTS)
def test_files_that_are_not_read_are_named_with_a_remedy(name: str) -> None:
    data, words = (BINARIES | TEXTS)[name]
    with pytest.raises(UndecodableImage, match=f"^This is {words}") as refused:
        decode(data)
    assert any(remedy in str(refused.value) for remedy in REMEDIES)
    assert is_binary(data) == (name in BINARIES)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_what_is_read_is_known_by_its_bytes(kind: str) -> None:
    data = saved(PLAIN, kind)
    assert is_binary(data)
    assert decode(data).shape == (32, 32, 3)
    assert np.abs(decode(data).astype(int) - (200, 30, 90)).max() < 8


def test_every_kind_is_looked_for_in_the_first_bytes_alone() -> None:
    """So the time does not grow with the file; none of the texts is found behind 1,000 bytes."""
    for data, _ in TEXTS.values():
        with pytest.raises(UndecodableImage, match="The bytes are not"):
            decode(b" " * 1000 + data)


def test_forms_and_json_are_no_binaries() -> None:
    for text in (b"", b'{"image": "BM"}', b"--x\r\n", b"image=GIF", b"BMW is no picture" * 9):
        assert not is_binary(text)


def test_an_mpo_of_a_phone_is_a_jpeg() -> None:
    buffer = io.BytesIO()
    PLAIN.save(buffer, "MPO", save_all=True, append_images=[PLAIN])
    assert decode(buffer.getvalue()).shape == (32, 32, 3)
