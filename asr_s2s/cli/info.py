"""The command `asr-s2s info`."""

from typing import Annotated

import typer

from asr_s2s.cli.options import MODEL_HELP


def info(
    model: Annotated[str | None, typer.Argument(help=MODEL_HELP)] = None,
) -> None:
    """Describe the installation, or one model.

    Without MODEL, prints versions, GPUs and the shipped models; with it, the model's size,
    configuration and model card.
    """
    import platform

    import torch
    import yaml

    from asr_s2s import __version__
    from asr_s2s.config_file import to_dict
    from asr_s2s.model.folder import SECTIONS, load_model, pretrained_names

    if model is None:
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        print(f"asr_s2s         {__version__}")
        print(f"python          {platform.python_version()}")
        print(f"torch           {torch.__version__}, {torch.get_num_threads()} threads")
        print(f"GPUs            {', '.join(devices) or 'none'}")
        print(f"shipped models  {', '.join(pretrained_names()) or 'none'}")
        return
    network, tokenizer, source_tokenizer, config, folder, language_models = load_model(
        model, exact=True
    )
    parameters = sum(p.numel() for p in network.parameters())
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    print(f"folder      {folder}")
    print(f"size        {size / 1e6:.1f} MB on disk, {parameters / 1e6:.2f} M parameters")
    print(f"vocabulary  {len(tokenizer)} tokens ({config.text.tokenizer})")
    if source_tokenizer is not None and source_tokenizer is not tokenizer:
        print(f"of source   {len(source_tokenizer)} tokens ({config.source_text.tokenizer})")
    print(f"normalizer  {config.text.normalizer}")
    if language_models.ngram is not None:
        order, count = language_models.ngram.order, len(language_models.ngram.keys)
        print(f"n-grams     {count:,} up to order {order}")
    if language_models.recurrent is not None:
        parameters = sum(p.numel() for p in language_models.recurrent.parameters())
        print(f"LSTM LM     {parameters / 1e6:.2f} M parameters")
    values = to_dict(config)
    print()
    print(yaml.safe_dump({name: values[name] for name in SECTIONS}, sort_keys=False), end="")
    card = folder / "README.md"
    if card.is_file():
        print()
        print(card.read_text("utf-8", errors="replace"), end="")
