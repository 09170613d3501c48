"""Where alerts are told: e-mail and webhook. What they are told is decided in `operations/telling.py`."""
