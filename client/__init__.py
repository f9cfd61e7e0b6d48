import os

# Silence cv2 and pygame, which read these when they load. This program's own messages say the same
# and what to do.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
