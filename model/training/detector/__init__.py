"""Train the face detector: YuNet, fine-tuned on masked, covered and turned faces."""
