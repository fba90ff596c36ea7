"""The typed config: everything composes, unknown words are refused helpfully, identity is stable."""

import dataclasses
import itertools
import json
import re

import pytest
import yaml

from flowrepro.config import schema
from flowrepro.config.compose import check_words, compose, expand, options
from flowrepro.config.options import allowed, default_of, faults
from flowrepro.config.quoting import understood
from flowrepro.config.reading import conf_dir, from_tree, saved_tree, to_tree
from flowrepro.config.schema import SCHEMAS, RealNVPImagesConfig
from flowrepro.errors import UsageError


def test_every_combination_composes():
    for dataset, model, regularizer, scale in itertools.product(
        ["sine", "digits2", "mnist2", "array"], SCHEMAS["model"], SCHEMAS["regularizer"], options("scale")
    ):
        words = [f"dataset={dataset}", f"model={model}", f"regularizer={regularizer}", f"scale={scale}"]
        if regularizer == "transport" and not model.startswith("qlf"):
            with pytest.raises(UsageError, match="for the blocks of model=qlf"):
                compose(words)
            continue
        config = compose(words)
        assert (config.dataset.name, config.model.name) == (dataset, model)
        assert config.scale.name == scale


@pytest.mark.parametrize("model", [name for name, schema in SCHEMAS["model"].items() if schema.takes_images])
@pytest.mark.parametrize("dataset", ["fashion_mnist", "cifar10"])
def test_image_models_have_a_size_at_every_scale(model, dataset):
    sizes = [
        compose([f"dataset={dataset}", f"model={model}", f"scale={scale}"])
        for scale in ("smoke", "cpu", "paper")
    ]
    for value in (lambda c: c.model.levels * c.model.steps, lambda c: c.training.steps):
        small, middle, large = map(value, sizes)
        assert small < middle < large


def test_every_registered_name_has_a_file_and_every_file_a_schema():
    for group, known in SCHEMAS.items():
        assert set(options(group)) == set(known), group
        assert all(options(group).values()), f"a {group} file has no comment for the help"


def test_no_two_files_of_settings_say_the_same():
    files = [f for group in ("tuned", "sizes") for f in (conf_dir() / group).glob("*.yaml")]
    said = {}
    for file in files:
        said.setdefault(json.dumps(yaml.safe_load(file.read_text()), sort_keys=True), []).append(file.name)
    assert len(files) > 20 and [names for names in said.values() if len(names) > 1] == []


def all_dataclasses():
    """Every dataclass that a config may hold."""
    own = [schema.Config, schema.Phase, schema.PhasesConfig, schema.ScaleConfig]
    own += [schema.TrainingConfig, schema.EvaluationConfig]
    return list(dict.fromkeys([*own, *(node for group in SCHEMAS.values() for node in group.values())]))


def instance(node, **values):
    """A config dataclass with its defaults but for these values."""
    required = [f.name for f in dataclasses.fields(node) if f.name != "sequence" and default_of(f) is None]
    return node(**{**{name: None for name in required if name not in values}, **values})


FREE_TEXT = {"name", "path", "key", "output_dir", "run", "figure"}


@pytest.mark.parametrize("node", all_dataclasses(), ids=lambda node: node.__name__)
def test_every_key_has_help_and_allows_its_default_and_nothing_beyond_its_bounds(node):
    for field in dataclasses.fields(node):
        if field.name in ("name", *schema.GROUPS, "training", "evaluation"):
            continue
        assert field.metadata["help"], field.name
        if field.type in (str, str | None):
            assert field.metadata["choices"] or field.name in FREE_TEXT, field.name
        assert not list(faults(instance(node)))
        wrong = ["unknown"] if field.metadata["choices"] else []
        for kind, bound in field.metadata["bounds"].items():
            wrong.append({"low": bound - 1, "above": bound, "high": bound + 1, "below": bound}[kind])
        for value in wrong:
            value = [value] if isinstance(default_of(field), list) else value
            (told,) = faults(instance(node, **{field.name: value}), "a.")
            assert told == f"a.{field.name}={value} must be {allowed(field)}"


def test_numbers_have_bounds_but_where_any_will_do():
    """Seeds, angles and lists of indices may be anything; all other numbers say what they may be."""
    free = {"seed", "angle", "train_layers", "rotate"}
    for node in all_dataclasses():
        for field in dataclasses.fields(node):
            number = any(word in str(field.type) for word in ("int", "float"))
            if number and field.name not in free:
                assert field.metadata["bounds"], f"{node.__name__}.{field.name}"


def test_choices_are_what_is_implemented():
    from flowrepro.data.celeba import CROPS
    from flowrepro.data.pixels import SETS
    from flowrepro.data.toy import TOYS
    from flowrepro.training.gradients import BACKWARDS
    from flowrepro.training.regularizers import ESTIMATORS
    from flowrepro.training.session import FULL_BATCH, MINIBATCH_OPTIMIZERS

    for node, name, implemented in (
        (schema.TrainingConfig, "optimizer", {*MINIBATCH_OPTIMIZERS, FULL_BATCH}),
        (schema.TrainingConfig, "backward", BACKWARDS),
        (schema.CelebAConfig, "crop", CROPS),
        (schema.TikhonovConfig, "estimator", ESTIMATORS),
    ):
        (field,) = (f for f in dataclasses.fields(node) if f.name == name)
        assert set(field.metadata["choices"]) == set(implemented)
    images = {name for name, node in SCHEMAS["dataset"].items() if issubclass(node, schema.ImageConfig)}
    assert images == set(SETS) and set(schema.TOYS) == set(TOYS)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("model=dense_asinhh", "Did you mean 'dense_asinh'"),
        ("modle=linear", "Did you mean 'model'"),
        ("training.stepz=4", "Did you mean 'training.steps'"),
        ("+training.stepz=4", "Did you mean 'training.steps'"),
        ("~training.steps", "not key=value"),
        ("~training.steps=4", "cannot be deleted"),
        ("training.steps=abc", "training.steps"),
        ("training.steps=0", "training.steps=0 must be at least 1"),
        ("model=glow model.hidden=0", "model.hidden=0 must be at least 1"),
        ("model=realnvp model.hidden=[8,-1]", "model.hidden=.* must be at least 1"),
        ("model=glow model.levels=0", "model.levels=0 must be at least 1"),
        ("model=nf model.margin=0.5", "must be above 0 and below 0.5"),
        ("model=realnvp model.levels=2", "model=realnvp has no key 'levels'"),
        ("model=realnvp_images model.passive=3", "model=realnvp_images has no key 'passive'"),
        ("regularizer.alpha=-1", "must be at least 0"),
        ("training.optimizer=sgdd", "adam, adamw, adamax, lbfgs"),
        ("training.lr=[1", "cannot be read"),
        ("phases.sequence=[{share:0.5}]", "add up to 1"),
        ("phases.sequence=[{share:1,lr:0}]", "phases.sequence.0..lr=0.* must be above 0"),
        ("evaluation.temperatures=[1,-1]", "temperatures=.1.0, -1.0. must be at least 0"),
    ],
)
def test_a_wrong_word_gets_one_helpful_line(word, hint):
    with pytest.raises(UsageError, match="(?s)" + hint.replace("(", r"\(")) as error:
        compose(word.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("model.hidden=[[8]]", "list of single values"),
        ("threads=99999999999999999999", "64 bits"),
        ("threads=4096", "at most 1024"),
        ("seed=${nope}", "'nope' not found"),
        ("seed=${seed}", "Recursive interpolation"),
    ],
)
def test_values_that_cannot_be_are_told(word, hint):
    with pytest.raises(UsageError, match=re.escape(hint)):
        compose(["model=realnvp", word])


def test_all_problems_are_told_at_once():
    with pytest.raises(UsageError) as error:
        compose(["training.steps=0", "regularizer.alpha=-1", "training.ema=2"])
    assert all(word in str(error.value) for word in ("training.steps", "regularizer.alpha", "training.ema"))


def test_a_key_of_another_group_option_is_refused():
    with pytest.raises(UsageError, match="alpha"):
        compose(["regularizer=none", "regularizer.alpha=1"])


def test_plus_and_no_plus_mean_the_same_for_a_known_key():
    assert compose(["+training.steps=7"]).training.steps == compose(["training.steps=7"]).training.steps == 7
    assert check_words(["+training.steps=7"]) == ["++training.steps=7"]


def test_the_command_line_wins_over_tuned_settings():
    assert compose(["scale=demo"]).phases.name == "annealed"
    assert compose(["scale=demo", "phases=end_to_end"]).phases.name == "end_to_end"
    assert compose(["scale=demo", "training.steps=3"]).training.steps == 3


def test_a_model_chooses_its_default_regularizer_and_the_command_line_still_wins(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "# mine\ndefaults:\n  - override /regularizer@_global_.regularizer: none\nname: dense_asinh\nlayers: 3\n"
    )
    config = compose(["model=mine"], [tmp_path])
    assert (config.model.layers, config.regularizer.name) == (3, "none")
    assert compose(["model=mine", "regularizer=tikhonov"], [tmp_path]).regularizer.name == "tikhonov"
    assert "mine" in options("model", [tmp_path])


def test_identity_ignores_where_and_how_and_sees_what():
    name = compose(["dataset=moons"]).run_name
    for word in (
        "device=cpu",
        "threads=1",
        "output_dir=x",
        "training.max_minutes=1",
        "training.log_seconds=1",
        "debug=true",
        "training.steps=5000",
        "evaluation.n_samples=3",
    ):
        assert compose(["dataset=moons", word]).run_name == name, word
    others = [
        "seed=1",
        "dtype=float32",
        "training.steps=4",
        "model.layers=3",
        "dataset=scurve",
        "scale=smoke",
        "regularizer.alpha=1e-5",
        "phases=annealed",
        "dataset.noise=.1",
    ]
    names = {compose([word] if "dataset=" in word else ["dataset=moons", word]).run_name for word in others}
    assert len(names) == len(others)
    assert name not in names


def test_a_new_key_with_its_default_orphans_no_run():
    # the hash is over what differs from the defaults, and nothing differs here but the names
    assert compose(["dataset=moons"]).identity["training"] == {}
    assert compose(["dataset=moons"]).identity["model"] == {"name": "dense_asinh"}


def test_identity_of_an_array_is_its_content(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"1")
    (tmp_path / "b.npy").write_bytes(b"1")
    names = [compose(["dataset=array", f"dataset.path={tmp_path}/{f}.npy"]).run_name for f in "ab"]
    (tmp_path / "b.npy").write_bytes(b"2")
    assert names == ["array_a" + names[0][7:], "array_b" + names[0][7:]]
    assert names[1] != compose(["dataset=array", f"dataset.path={tmp_path}/b.npy"]).run_name


def test_tree_round_trip():
    config = compose(["phases=annealed", "training.max_minutes=2.5", "dataset=mnist2"])
    assert from_tree(to_tree(config)) == config


def test_a_realnvp_of_old_is_read_by_what_it_took():
    """As saved when one model took vectors with levels=0 and images with more."""
    old = to_tree(compose(["dataset=moons", "model=realnvp", "model.hidden=[8,8]"]))
    old["model"]["levels"] = 0
    assert from_tree(saved_tree(old)) == compose(["dataset=moons", "model=realnvp", "model.hidden=[8,8]"])
    old["model"]["levels"], old["training"]["steps_per_layer"] = 2, 7
    config = from_tree(saved_tree(old))
    assert config.model == RealNVPImagesConfig("realnvp_images", 2, 6, 8, "exponential")
    assert config.training.steps == old["training"]["steps"]


def test_realnvp_means_the_same_on_every_data_set():
    for dataset in ("celeba", "cifar10", "fashion_mnist", "moons"):
        assert not compose([f"dataset={dataset}", "model=realnvp"]).model.takes_images
        assert compose([f"dataset={dataset}", "model=realnvp_images"]).model.takes_images


def test_expand_is_the_product_of_swept_values():
    jobs = expand(["dataset=sine", "regularizer.alpha=0,1e-5", "seed=range(0,3)"])
    assert len(jobs) == 6
    assert jobs[0] == ["dataset=sine", "regularizer.alpha=0", "seed=0"]


PATHS = [
    "größe.npy",
    "points (1).npy",
    "a b.npy",
    "~/p.npy",
    "data[2].npy",
    "it's.npy",
    "7",
    "a=b.npy",
    "1e5",
    "x.csv",
]


@pytest.mark.parametrize("path", [*PATHS, "100%.npy", "a&b.npy", "back\\slash.npy", "点.npy", "{a}.npy"])
def test_paths_need_no_quotes_beyond_the_shells(path):
    words = understood(["dataset=array", f"dataset.path={path}", f"output_dir={path}"], multirun=False)
    config = compose(words)
    assert (config.dataset.path, config.output_dir) == (path, path)
    jobs = expand(understood(["dataset=array", f"dataset.path={path},b.npy"], multirun=True))
    assert [compose(job).dataset.path for job in jobs] == [path, "b.npy"]


def test_what_can_be_read_already_stays_as_it_is():
    words = ['dataset.path="größe.npy"', "seed=1,2", "dataset.path=a.npy,b.npy", "training.lr=(1", "nonsense"]
    assert understood(words, multirun=True) == words


def test_config_dirs_may_have_any_name(tmp_path):
    folder = tmp_path / "cönf (1)" / "model"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# my own\nname: linear\ninit: orthogonal\n")
    assert compose(["model=mine"], [folder.parent]).model.init == "orthogonal"
