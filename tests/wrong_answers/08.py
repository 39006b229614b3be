# ruff: noqa
# %% 08.1 not divided
# message: not divided by the square root of d
def attend(q, k, v, real):
    x = np.where(np.tri(len(q), dtype=bool) & real, q @ k.T, -1e9)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True) @ v


# %% 08.1 sees the future
# message: the causal mask is missing
def attend(q, k, v, real):
    x = np.where(real, q @ k.T / np.sqrt(q.shape[1]), -1e9)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True) @ v


# %% 08.1 triangle upside down
# message: upside down
def attend(q, k, v, real):
    x = np.where(np.triu(np.ones((len(q), len(q)), bool)) & real, q @ k.T / np.sqrt(q.shape[1]), -1e9)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True) @ v


# %% 08.1 padding forgotten
# message: Padding is listened to
def attend(q, k, v, real):
    x = np.where(np.tri(len(q), dtype=bool), q @ k.T / np.sqrt(q.shape[1]), -1e9)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True) @ v


# %% 08.1 masked with zero
# message: it still has weight
def attend(q, k, v, real):
    x = np.tri(len(q)) * real * (q @ k.T) / np.sqrt(q.shape[1])
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True) @ v


# %% 08.1 masked after the softmax
# message: no longer add up
def attend(q, k, v, real):
    x = q @ k.T / np.sqrt(q.shape[1])
    x = np.exp(x - x.max(axis=1, keepdims=True))
    x = x / x.sum(axis=1, keepdims=True)
    return (x * (np.tri(len(q)) * real)) @ v


# %% 08.1 softmax over those who ask
# message: The softmax runs over those who ask
def attend(q, k, v, real):
    x = np.where(np.tri(len(q), dtype=bool) & real, q @ k.T / np.sqrt(q.shape[1]), -1e9)
    x = np.exp(x - x.max(axis=0, keepdims=True))
    return x / x.sum(axis=0, keepdims=True) @ v


# %% 08.1 overflows
# message: Large likenesses overflow
def attend(q, k, v, real):
    x = np.where(np.tri(len(q), dtype=bool) & real, q @ k.T / np.sqrt(q.shape[1]), -1e9)
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.exp(x)
        return x / x.sum(axis=1, keepdims=True) @ v


# %% 08.1 padding forgotten, its own rows blanked
# message: its keys and values are no events
def attend(q, k, v, real):
    x = np.where(np.tri(len(q), dtype=bool), q @ k.T / np.sqrt(q.shape[1]), -1e9)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True) @ v * real[:, None]


# %% 08.2 as shipped
# message: The padding mask is inverted

# %% 08.2 mended, the triangle lost
# message: The causal mask is lost
def who_may_look(codes):
    real = codes != 0
    return np.ones((codes.shape[1], codes.shape[1]), bool) & real[:, None, :]


# %% 08.2 joined by or
# message: joined by `or`
def who_may_look(codes):
    real = codes != 0
    return np.tri(codes.shape[1], dtype=bool) | real[:, None, :]


# %% 08.2 on the axis of those who look
# message: axis of those who look
def who_may_look(codes):
    real = codes != 0
    return np.tri(codes.shape[1], dtype=bool) & real[:, :, None]


# %% 08.2 the padding mask dropped
# message: The padding mask is gone
def who_may_look(codes):
    return np.tri(codes.shape[1], dtype=bool) & np.ones((len(codes), 1, 1), bool)


# %% 08.2 inverted, padding blinded
# message: real events may look nowhere at all
def who_may_look(codes):
    real = codes != 0
    return np.tri(codes.shape[1], dtype=bool) & ~real[:, None, :] & real[:, :, None]


# %% 08.2 all inverted
# message: everything is inverted
def who_may_look(codes):
    real = codes != 0
    return ~(np.tri(codes.shape[1], dtype=bool) & real[:, None, :])


# %% 08.3 as shipped
# message: Two bugs

# %% 08.3 only decode mended
# message: Codes come from the session's own names
def encode(names, items):
    table = {name: code for code, name in enumerate(sorted(set(names)), start=1)}
    return np.array([table[name] for name in names])


def decode(places, items):
    return [items[place] for place in places]


# %% 08.3 only encode mended
# message: takes a place for a code
def encode(names, items):
    return np.array([items.index(name) + 1 for name in names])


def decode(places, items):
    return [items[place - 1] for place in places]


# %% 08.3 by the alphabet
# message: sorted by the alphabet
def encode(names, items):
    table = {name: code for code, name in enumerate(sorted(items), start=1)}
    return np.array([table[name] for name in names])


def decode(places, items):
    return [items[place] for place in places]


# %% 08.3 from zero
# message: 0 is padding: the first item
def encode(names, items):
    return np.array([items.index(name) for name in names])


def decode(places, items):
    return [items[place] for place in places]


# %% 08.4 as shipped
# message: wrong sign

# %% 08.4 no correction
# message: The correction is missing
def sampled_loss(own, others, chance, same):
    others = np.where(same, -np.inf, others)
    return np.log(np.exp(own) + np.exp(others).sum(axis=1)) - own


# %% 08.4 without the number of draws
# message: The number of draws is forgotten
def sampled_loss(own, others, chance, same):
    others = np.where(same, -np.inf, others - np.log(chance))
    return np.log(np.exp(own) + np.exp(others).sum(axis=1)) - own


# %% 08.4 no logarithm
# message: The chance itself is subtracted
def sampled_loss(own, others, chance, same):
    others = np.where(same, -np.inf, others - others.shape[1] * chance)
    return np.log(np.exp(own) + np.exp(others).sum(axis=1)) - own


# %% 08.4 the target against itself
# message: would have to beat
def sampled_loss(own, others, chance, same):
    others = others - np.log(others.shape[1] * chance)
    return np.log(np.exp(own) + np.exp(others).sum(axis=1)) - own


# %% 08.5 as shipped
# message: chosen on the very test rows

# %% 08.5 reported on the validation part
# message: but the reported rate is that of the validation part
def blend(network, counting, targets, part):
    found = np.array([hits(w * network + (1 - w) * counting, targets) for w in WEIGHTS])
    rates = found[:, part == "validation"].mean(axis=1)
    return float(WEIGHTS[rates.argmax()]), float(rates.max())


# %% 08.5 chosen on all rows
# message: half a leak
def blend(network, counting, targets, part):
    found = np.array([hits(w * network + (1 - w) * counting, targets) for w in WEIGHTS])
    best = found.mean(axis=1).argmax()
    return float(WEIGHTS[best]), float(found[best, part == "test"].mean())


# %% 08.5 the worst one
# message: finds LEAST
def blend(network, counting, targets, part):
    found = np.array([hits(w * network + (1 - w) * counting, targets) for w in WEIGHTS])
    best = found[:, part == "validation"].mean(axis=1).argmin()
    return float(WEIGHTS[best]), float(found[best, part == "test"].mean())


# %% 08.6 scored on the training part
# message: computed on the training rows
network = item_transformer(catalogue, width=8, blocks=1, seed=seed)
fit_items(network, data["train"], data["validation"], epochs=1, jit_compile=False, seed=seed, progress=False)
score = score_of(network, "train")

# %% 08.6 scored on the validation part
# message: computed on the validation rows
network = item_transformer(catalogue, width=8, blocks=1, seed=seed)
fit_items(network, data["train"], data["validation"], epochs=1, jit_compile=False, seed=seed, progress=False)
score = score_of(network, "validation")

# %% 08.6 fitted on the test part
# message: it was fitted on them
network = item_transformer(catalogue, width=32, blocks=1, seed=seed)
how = {"epochs": 12, "batch_size": 32, "learning_rate": 1e-2, "decay": True, "shapes": 2}
fit_items(network, data["test"], data["test"], **how, jit_compile=False, seed=seed, progress=False)
score = score_of(network, "test")

# %% 08.6 never fitted
# message: was it fitted
network = item_transformer(catalogue, width=32, blocks=1, seed=seed)
score = score_of(network, "test")

# %% 08.6 scores instead of states
# message: scores the whole catalogue at every position itself
from course_lib.backend import keras

states = item_transformer(catalogue, width=8, blocks=1, seed=seed)
network = keras.Model(states.input, keras.layers.Dense(len(catalogue))(states.output))
score = 0.5
