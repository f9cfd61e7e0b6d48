"""Show pictures in a window, with SDL: the headless OpenCV has no windows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pygame

from client.frames import Image
from client.outputs import letterboxed

TITLE = "Face masks (ESC or q ends)"
LARGEST = (1280, 720)
BLIND = {"offscreen", "dummy"}


class WindowUnavailable(Exception):
    """There is no display to open a window on."""


@contextmanager
def display() -> Iterator[None]:
    """Open the display and close it at the end of the block; raises WindowUnavailable.

    The window appears with the first picture.
    """
    try:
        pygame.display.init()
    except pygame.error as error:
        raise WindowUnavailable(
            f"No window can be opened ({error}). Use --no-window, perhaps with --output FILE.mp4."
        ) from error
    try:
        # Without a display SDL silently draws into memory; allow that only if requested.
        if pygame.display.get_driver() in BLIND and "SDL_VIDEODRIVER" not in os.environ:
            raise WindowUnavailable(
                "There is no display to open a window on. Use --no-window, perhaps with "
                "--output FILE.mp4."
            )
        yield
    finally:
        pygame.display.quit()


def show(picture: Image) -> None:
    """Fill the window with a uint8 BGR picture; keeps its proportions, the rest is black."""
    height, width = picture.shape[:2]
    surface = pygame.display.get_surface()
    if surface is None:
        shrink = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
        size = (max(round(width * shrink), 320), max(round(height * shrink), 240))
        surface = pygame.display.set_mode(size, pygame.RESIZABLE)
        pygame.display.set_caption(TITLE)
    room = surface.get_size()
    scale = min(room[0] / width, room[1] / height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    resized = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    rgb = cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)
    surface.fill("black")
    surface.blit(
        pygame.image.frombuffer(rgb.tobytes(), size, "RGB"),
        ((room[0] - size[0]) // 2, (room[1] - size[1]) // 2),
    )
    pygame.display.flip()


def tiled(pictures: list[Image]) -> Image:
    """Arrange uint8 BGR pictures in a grid, each at the size of the first."""
    height, width = pictures[0].shape[:2]
    columns = math.ceil(math.sqrt(len(pictures)))
    cells = [letterboxed(picture, (width, height)) for picture in pictures]
    cells += [np.zeros_like(pictures[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def events() -> tuple[bool, bool]:
    """Handle the user's actions since the last call; returns (quit requested, redraw needed)."""
    quits = redraws = False
    for event in pygame.event.get():
        key = event.key if event.type == pygame.KEYDOWN else None
        quits |= event.type == pygame.QUIT or key in {pygame.K_ESCAPE, pygame.K_q}
        redraws |= event.type in {pygame.WINDOWSIZECHANGED, pygame.WINDOWEXPOSED}
    return quits, redraws
