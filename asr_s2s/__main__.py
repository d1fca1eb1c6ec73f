"""`python -m asr_s2s` is the `asr-s2s` command."""

from asr_s2s.cli.main import main

main()
