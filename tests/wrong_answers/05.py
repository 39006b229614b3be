# ruff: noqa
# %% 05.1 no tanh
# message: The tanh is missing
def step(x, h, W, U, b):
    return x @ W + h @ U + b


# %% 05.1 no memory
# message: no memory at all
def step(x, h, W, U, b):
    return np.tanh(x @ W + b)


# %% 05.1 U transposed
# message: U is transposed
def step(x, h, W, U, b):
    return np.tanh(x @ W + h @ U.T + b)


# %% 05.1 bias forgotten
# message: The bias `b` is forgotten
def step(x, h, W, U, b):
    return np.tanh(x @ W + h @ U)


# %% 05.1 the state added as it is
# message: what carries over goes through U
def step(x, h, W, U, b):
    return np.tanh(x @ W + h + b)


# %% 05.2 no slope
# message: The slope of the tanh is missing
def carry_back(dh, states, U):
    for state in states[:0:-1]:
        dh = dh @ U.T
    return dh


# %% 05.2 U as it is
# message: U is not transposed
def carry_back(dh, states, U):
    for state in states[:0:-1]:
        dh = (dh * (1 - state**2)) @ U
    return dh


# %% 05.2 slope of the earlier state
# message: taken at the wrong state
def carry_back(dh, states, U):
    for state in states[-2::-1]:
        dh = (dh * (1 - state**2)) @ U.T
    return dh


# %% 05.2 a step for every state
# message: One step too many
def carry_back(dh, states, U):
    for state in states[::-1]:
        dh = (dh * (1 - state**2)) @ U.T
    return dh


# %% 05.2 forwards
# message: walked in the order of time
def carry_back(dh, states, U):
    for state in states[1:]:
        dh = (dh * (1 - state**2)) @ U.T
    return dh


# %% 05.3 as shipped
# message: Padding is read as data

# %% 05.3 set to zero, still counted
# message: set to 0 but still counted
def batch_loss(losses, codes):
    return float(np.where(codes > 0, losses, 0).mean())


# %% 05.3 the count mended, the sum not
# message: still in the sum
def batch_loss(losses, codes):
    return float(losses.sum() / (codes > 0).sum())


# %% 05.3 mean of means
# message: the mean of the sessions' means
def batch_loss(losses, codes):
    real = codes > 0
    return float(((losses * real).sum(axis=1) / real.sum(axis=1)).mean())


# %% 05.3 code 1 dropped
# message: Code 1 is a real event too
def batch_loss(losses, codes):
    return float(losses[codes > 1].mean())


# %% 05.4 as shipped
# message: The labels are mapped backwards

# %% 05.4 by the alphabet
# message: numbered by the alphabet
def encode(labels, outcomes):
    return labels.astype("category").cat.codes.to_numpy()


# %% 05.4 counted from 1
# message: counted from 1
def encode(labels, outcomes):
    place = {outcome: position for position, outcome in enumerate(outcomes, start=1)}
    return labels.map(place).fillna(-1).astype(int).to_numpy()


# %% 05.4 from the end
# message: counted from the end
def encode(labels, outcomes):
    return pd.Categorical(labels, categories=list(reversed(outcomes))).codes


# %% 05.5 one too far
# message: One event too far
def states_after(hidden, codes, seen):
    long_enough = (codes > 0).sum(axis=1) >= seen
    return hidden[long_enough, seen]


# %% 05.5 the last position
# message: the last position of the rectangle
def states_after(hidden, codes, seen):
    return hidden[:, -1]


# %% 05.5 the whole session
# message: the state after the whole session
def states_after(hidden, codes, seen):
    length = (codes > 0).sum(axis=1)
    keep = length >= seen
    return hidden[np.flatnonzero(keep), length[keep] - 1]


# %% 05.5 all states
# message: whole sequences of states
def states_after(hidden, codes, seen):
    return hidden[:, :seen]


# %% 05.5 short sessions too
# message: Too many sequences
def states_after(hidden, codes, seen):
    return hidden[:, seen - 1]


# %% 05.6 scored on the training part
# message: computed on the training rows
codes = keras.Input((None,), dtype="int32")
h = keras.layers.SimpleRNN(8, return_sequences=True)(keras.layers.Embedding(vocabulary.size, 8)(codes))
network = keras.Model(codes, keras.layers.Dense(len(data["train"].outcomes))(h))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "train")

# %% 05.6 scored on the validation part
# message: computed on the validation rows
codes = keras.Input((None,), dtype="int32")
h = keras.layers.SimpleRNN(8, return_sequences=True)(keras.layers.Embedding(vocabulary.size, 8)(codes))
network = keras.Model(codes, keras.layers.Dense(len(data["train"].outcomes))(h))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "validation")

# %% 05.6 never fitted
# message: worse than event frequencies
codes = keras.Input((None,), dtype="int32")
h = keras.layers.SimpleRNN(8, return_sequences=True)(keras.layers.Embedding(vocabulary.size, 8)(codes))
network = keras.Model(codes, keras.layers.Dense(len(data["train"].outcomes))(h))
score = score_of(network, "test")

# %% 05.6 softmax twice
# message: probabilities already
codes = keras.Input((None,), dtype="int32")
h = keras.layers.SimpleRNN(8, return_sequences=True)(keras.layers.Embedding(vocabulary.size, 8)(codes))
p = keras.layers.Dense(len(data["train"].outcomes), activation="softmax")(h)
network = keras.Model(codes, p)
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "test")

# %% 05.6 one state a session
# message: one forecast a sequence
codes = keras.Input((None,), dtype="int32")
h = keras.layers.SimpleRNN(8)(keras.layers.Embedding(vocabulary.size, 8)(codes))
network = keras.Model(codes, keras.layers.Dense(len(data["train"].outcomes))(h))
score = 1.0
