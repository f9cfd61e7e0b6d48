import os

# Read when cv2 and pygame load. Their own chatter would be mixed into this program's messages,
# which say the same and what to do about it.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
