"""Entry point of `python -m asr_s2s`, the same as the `asr-s2s` command."""

from asr_s2s.cli.main import main

main()
