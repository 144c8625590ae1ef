"""Messages about settings and arguments."""

from functools import partial

from producing import Tools, produces, raised

from ldke_pl.atlas import pretrain
from ldke_pl.backbone import __main__ as backbone_command
from ldke_pl.config import CONF_DIR, EditConfig, load_config
from ldke_pl.edits.__main__ import main as edits_command
from ldke_pl.upkeep.arguments import parse

ARGUMENTS = {
    "The configuration has <n faults>: <faults>": ["run.seeds=x", "router.kind=y"],
    "<argument>: arguments are written key=value, without dashes": ["--lr=3"],
    "<argument>: expected key=value": ["editor"],
    "<argument>: the value is not YAML; a text with special characters needs its own quotes": ["data.path=[odd"],
    "<key>: no such key; did you mean <other>?": ["localizer.tua=0.5"],
    "<key>: is a section and takes no value itself; set keys in it, as in <key>=...": ["run=3"],
    "<key>: <name> is not among the chosen ones (<names>); add it to <group>=[...]": ["editor.lora.lr=1"],
    "<key>: expected <type>, but got <value>": ["editor.ldke.steps=ten"],
    "<key>: must be <bounds>, but got <value>": ["data.limit=0"],
    "<key>: must be one of <choices>, but got <value>": ["logger.name=paper"],
    "<key>: must not be empty": ["run.seeds=[]"],
    "<key>: cannot be resolved: <reason>": ["model.name=${nowhere}"],
    "<key>: must not repeat a value, but got <values>": ["run.seeds=[1,1]"],
    "data.root: must name the folder of the data set when data.format is <format>": ["data=vlkeb"],
    "data.deleak: needs one other file: data.train=FILE in edit.py, or data.eval=FILE in train.py": [
        "data.deleak=true"
    ],
    "edits: is a file of data.format=plain, but data.format is <format>; give one of the two": [
        "edits=a.jsonl", "data.format=vlkeb", "data.root=pictures",
    ],
    "edits: stands for data.path=<file>, but data.path is <file>; give one of the two": [
        "edits=a.jsonl", "data.path=b.jsonl",
    ],
    "edits: needs answers to show, but run.protocols is <names>; add generate": [
        "edits=a.jsonl", "run.protocols=[masked]",
    ],
    "<group>: no choice <name>; choices are <names>": ["data=nowhere"],
    "<group>: takes one choice, but got <names>": ["data=[atlas,vlkeb]"],
    "<group>: expected one or more different choices, but got <names>": ["editor=[ldke,ldke]"],
    "<file>: cannot be read (<reason>)": ["config=nowhere.yaml"],
}  # fmt: skip
"""Entry -> arguments of ``edit.py`` that produce it."""

FILES = {
    "<key>: needs a value: <meaning>": ("config.yaml", "editor: {mine: {lr: 1.0}}"),
    "<file>: is not YAML (<reason>)": ("config.yaml", "a: ["),
    "<file>: expected keys with values, but got <value>": ("config.yaml", "[1, 2]"),
    "editor: needs at least one editor, as in editor=ldke": ("config.yaml", "{}"),
    "defaults: expected group: choice, but got <value>": ("config.yaml", "defaults: [atlas]"),
    "defaults.<group>: no such group; did you mean <other>?": ("config.yaml", "defaults: {models: atlas}"),
}
"""Entry -> a saved configuration that produces it."""

UPKEEP = {
    "<argument>: arguments are written key=value, without dashes.": ["--base", "x"],
    "<key> is given <twice, or no value>.": ["DIR", "ID", "base=a", "base=b"],
    "<name> is not given.": ["DIR"],
    "<argument> is one argument too many.": ["DIR", "ID", "more"],
}
"""Entry -> arguments of a command of ``python -m ldke_pl.edits`` that takes DIR, ID and a base."""


def of_arguments(arguments: list[str], tools: Tools) -> str:
    return raised(partial(load_config, EditConfig, CONF_DIR / "edit.yaml", arguments))


def of_file(name: str, content: str, tools: Tools) -> str:
    return of_arguments([f"config={tools.file(name, content)}"], tools)


def of_upkeep(arguments: list[str], tools: Tools) -> str:
    return raised(partial(parse, arguments, "DIR ID", ("base",)))


for entry, arguments in ARGUMENTS.items():
    produces(entry)(partial(of_arguments, arguments))
for entry, (name, content) in FILES.items():
    produces(entry)(partial(of_file, name, content))
for entry, arguments in UPKEEP.items():
    produces(entry)(partial(of_upkeep, arguments))


@produces('There is no command "<name>".')
def no_command(tools: Tools) -> str:
    (one,) = {raised(partial(main, ["nonsense"])) for main in (edits_command, backbone_command.main)}
    return one


@produces("<key> is <value>, which is no whole number.")
def no_number(tools: Tools) -> str:
    return raised(lambda: edits_command(["fold", "DIR", "ID", "OUT", "probes=many"]))


@produces("<key> is <value>, which is neither true nor false.")
def no_flag(tools: Tools) -> str:
    return raised(lambda: edits_command(["push", "DIR", "NAME", "private=no"]))


@produces("There is no family <name>.")
def no_such_family(tools: Tools) -> str:
    return raised(lambda: pretrain.main([str(tools.folder), "family=gpt"]))
