# ruff: noqa
# %% 07.1 its own event forgotten
# message: the event at the position itself is forgotten
def dilations_for(kernel, events):
    dilations = []
    while (kernel - 1) * sum(dilations) < events:
        dilations.append(kernel ** len(dilations))
    return dilations


# %% 07.1 one layer too many where the field is exact
# message: the loop goes on at `<=`
def dilations_for(kernel, events):
    dilations = []
    while receptive_field(kernel, dilations) <= events:
        dilations.append(kernel ** len(dilations))
    return dilations


# %% 07.1 a logarithm in floating point
# message: a logarithm in floating point
def dilations_for(kernel, events):
    layers = int(np.ceil(np.log(events) / np.log(kernel)))
    return [kernel**layer for layer in range(layers)]


# %% 07.1 each layer adds a whole kernel
# message: one of its events was in sight already
def dilations_for(kernel, events):
    dilations = []
    while kernel * sum(dilations) < events:
        dilations.append(kernel ** len(dilations))
    return dilations


# %% 07.1 doubling
# message: The dilations double whatever the kernel is
def dilations_for(kernel, events):
    dilations = []
    while receptive_field(kernel, dilations) < events:
        dilations.append(2 ** len(dilations))
    return dilations


# %% 07.1 neighbours only
# message: All dilations are 1
def dilations_for(kernel, events):
    dilations = []
    while receptive_field(kernel, dilations) < events:
        dilations.append(1)
    return dilations


# %% 07.2 the kernel reversed
# message: The kernel is the wrong way round
def causal(x, F, b, dilation):
    y = np.tile(b.astype(float), (len(x), 1))
    for j in range(len(F)):
        back = j * dilation
        if back < len(x):
            y[back:] += x[: len(x) - back] @ F[j]
    return y


# %% 07.2 a negative slice
# message: A session shorter than the window stops it
def causal(x, F, b, dilation):
    y = np.tile(b.astype(float), (len(x), 1))
    for j in range(len(F)):
        back = j * dilation
        y[back:] += x[: len(x) - back] @ F[-1 - j]
    return y


# %% 07.2 looking forward
# message: This convolution looks forward
def causal(x, F, b, dilation):
    y = np.tile(b.astype(float), (len(x), 1))
    for j in range(len(F)):
        ahead = j * dilation
        if ahead < len(x):
            y[: len(x) - ahead] += x[ahead:] @ F[-1 - j]
    return y


# %% 07.2 the window centred
# message: The window is centred on the position
def causal(x, F, b, dilation):
    half = dilation * (len(F) // 2)
    wide = np.pad(x, ((half, half), (0, 0)))
    y = np.tile(b.astype(float), (len(x), 1))
    for i in range(len(F)):
        y += wide[i * dilation : i * dilation + len(x)] @ F[i]
    return y


# %% 07.2 no dilation
# message: The dilation is ignored
def causal(x, F, b, dilation):
    wide = np.pad(x, ((len(F) - 1, 0), (0, 0)))
    return b + sum(wide[i : i + len(x)] @ F[i] for i in range(len(F)))


# %% 07.2 no bias
# message: The bias `b` is forgotten
def causal(x, F, b, dilation):
    back = dilation * (len(F) - 1)
    wide = np.pad(x, ((back, 0), (0, 0)))
    return sum(wide[i * dilation : i * dilation + len(x)] @ F[i] for i in range(len(F)))


# %% 07.2 a ring
# message: The session is bent into a ring
def causal(x, F, b, dilation):
    return b + sum(np.roll(x, j * dilation, axis=0) @ F[-1 - j] for j in range(len(F)))


# %% 07.2 only where the window fits
# message: The first positions are missing
def causal(x, F, b, dilation):
    n = max(len(x) - dilation * (len(F) - 1), 0)
    return b + sum(x[i * dilation : i * dilation + n] @ F[i] for i in range(len(F)))


# %% 07.3 as shipped
# message: The network sees the future

# %% 07.3 one layer mended
# message: One of the two layers is mended
def build(codes, outcomes):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(codes, 16)(inputs)
    x = keras.layers.Conv1D(16, 3, padding="causal", activation="tanh")(x)
    x = keras.layers.Conv1D(16, 3, padding="same", dilation_rate=3, activation="tanh")(x)
    return keras.Model(inputs, keras.layers.Dense(outcomes)(x))


# %% 07.3 no padding at all
# message: Positions are missing
def build(codes, outcomes):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(codes, 16)(inputs)
    x = keras.layers.Conv1D(16, 3, padding="valid", activation="tanh")(x)
    x = keras.layers.Conv1D(16, 3, padding="valid", dilation_rate=3, activation="tanh")(x)
    return keras.Model(inputs, keras.layers.Dense(outcomes)(x))


# %% 07.3 padded on the right
# message: reaches forward
def build(codes, outcomes):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(codes, 16)(inputs)
    x = keras.layers.ZeroPadding1D((0, 2))(x)
    x = keras.layers.Conv1D(16, 3, activation="tanh")(x)
    x = keras.layers.ZeroPadding1D((0, 6))(x)
    x = keras.layers.Conv1D(16, 3, dilation_rate=3, activation="tanh")(x)
    return keras.Model(inputs, keras.layers.Dense(outcomes)(x))


# %% 07.3 moved one step too far
# message: moved one step too far
def build(codes, outcomes):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(codes, 16)(inputs)
    x = keras.layers.ZeroPadding1D((1, 0))(x)
    x = keras.layers.Cropping1D((0, 1))(x)
    x = keras.layers.Conv1D(16, 3, padding="causal", activation="tanh")(x)
    x = keras.layers.Conv1D(16, 3, padding="causal", dilation_rate=3, activation="tanh")(x)
    return keras.Model(inputs, keras.layers.Dense(outcomes)(x))


# %% 07.3 nine events with holes
# message: but with holes
def build(codes, outcomes):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(codes, 16)(inputs)
    x = keras.layers.Conv1D(16, 3, padding="causal", activation="tanh")(x)
    x = keras.layers.Conv1D(16, 3, padding="causal", dilation_rate=4, activation="tanh")(x)
    return keras.Model(inputs, keras.layers.Dense(outcomes)(x))


# %% 07.3 no window
# message: Each output sees its own event alone
def build(codes, outcomes):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(codes, 16)(inputs)
    x = keras.layers.Conv1D(16, 1, activation="tanh")(x)
    return keras.Model(inputs, keras.layers.Dense(outcomes)(x))


# %% 07.4 as shipped
# message: The predictions are scored against themselves

# %% 07.4 padding scored
# message: Padding is scored as well
def accuracy_of(odds, targets, mask):
    return float((odds.argmax(axis=-1) == targets).mean())


# %% 07.4 divided by all positions
# message: Positions that are not scored count as wrong
def accuracy_of(odds, targets, mask):
    return float(((odds.argmax(axis=-1) == targets) & mask).mean())


# %% 07.4 mean of means
# message: the mean of the sequences' accuracies
def accuracy_of(odds, targets, mask):
    right = (odds.argmax(axis=-1) == targets) & mask
    return float((right.sum(axis=1) / mask.sum(axis=1)).mean())


# %% 07.4 the mean probability
# message: the mean probability of what happened
def accuracy_of(odds, targets, mask):
    own = np.take_along_axis(odds, targets[..., None], axis=-1)[..., 0]
    return float(own[mask].mean())


# %% 07.5 as shipped
# message: The target stands at its own position

# %% 07.5 backwards
# message: moved the wrong way
def targets_of(codes):
    targets = np.zeros_like(codes)
    targets[:, 1:] = codes[:, :-1]
    return targets, targets > 0


# %% 07.5 rolled
# message: The first event comes round again
def targets_of(codes):
    return np.roll(codes, -1, axis=1), codes > 0


# %% 07.5 padding asked for
# message: Padding is asked for
def targets_of(codes):
    targets = np.zeros_like(codes)
    targets[:, :-1] = codes[:, 1:]
    return targets, codes > 0


# %% 07.5 two steps
# message: Two steps ahead
def targets_of(codes):
    targets = np.zeros_like(codes)
    targets[:, :-2] = codes[:, 2:]
    return targets, targets > 0


# %% 07.6 it peeks
# message: The network peeks
codes = keras.Input((None,), dtype="int32")
x = keras.layers.Embedding(vocabulary.size, 8)(codes)
x = keras.layers.Conv1D(8, 3, padding="same", activation="tanh")(x)
network = keras.Model(codes, keras.layers.Dense(len(data["train"].outcomes))(x))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "test")

# %% 07.6 a narrow field
# message: the oldest event that moves it stands 3 events back
network = event_cnn(vocabulary, data["train"].outcomes, width=8, kernel=4, dilations=(1,))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "test")

# %% 07.6 a wide field with holes
# message: The view has holes
network = event_cnn(vocabulary, data["train"].outcomes, width=8, kernel=3, dilations=(1, 13))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "test")

# %% 07.6 scored on the training part
# message: computed on the training rows
network = event_cnn(vocabulary, data["train"].outcomes, width=8, kernel=4, dilations=(1, 4, 16))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "train")

# %% 07.6 scored on the validation part
# message: computed on the validation rows
network = event_cnn(vocabulary, data["train"].outcomes, width=8, kernel=4, dilations=(1, 4, 16))
fit(network, data["train"], data["validation"], epochs=1, seed=seed, progress=False)
score = score_of(network, "validation")

# %% 07.6 never fitted
# message: worse than event frequencies
network = event_cnn(vocabulary, data["train"].outcomes, width=8, kernel=4, dilations=(1, 4, 16))
score = score_of(network, "test")

# %% 07.6 pooled
# message: one forecast a sequence
codes = keras.Input((None,), dtype="int32")
x = keras.layers.Embedding(vocabulary.size, 8)(codes)
x = keras.layers.GlobalAveragePooling1D()(x)
network = keras.Model(codes, keras.layers.Dense(len(data["train"].outcomes))(x))
score = 1.0
