"""Spaces and suites whose values make no sense, or none together.

A row is a file, what stands there, and what is written instead; where the message must point, there
is a section sign.
"""

# ruff: noqa: E501  (one mistake a line)

VALUES = "{values: [0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1]}"
SPACES = r"""
lambda.yaml | [vanilla, at] | [vanilla, §att]
lambda.yaml | [vanilla, at] | [vanilla, at, §vanilla]
lambda.yaml | [vanilla, at] | [vanilla, §sparse]
lambda.yaml | strategies: [sr] | strategies: [§srr]
lambda.yaml | strategies: [sr] | strategies: [sr, §sr]
lambda.yaml | strategies: [sr] | strategies: [vanilla, sr, §at2]
lambda.yaml | §search:\n  sampler: grid\n  strategies: [sr] | §search:\n  sampler: grid
lambda.yaml | §search:\n  sampler: grid | §search:\n  sampler: tpe
lambda.yaml | §search:\n  sampler: grid | §search:\n  sampler: nsga2
lambda.yaml | sampler: grid | sampler: §tree
lambda.yaml | sampler: grid | sampler: grid\n  num_trials: §0
lambda.yaml | parameters: | parameters:\n    §sparsity_weight: {values: [3]}
lambda.yaml | strategy.sparsity_weight | §strategy.sparsity_wieght
lambda.yaml | parameters: | parameters:\n    §strategy.gradient_weight: {values: [3]}
lambda.yaml | parameters: | parameters:\n    §strategies.sr.sparsity_weight: {values: [3]}
lambda.yaml | parameters: | parameters:\n    §strategy.method: {values: [3]}
lambda.yaml | parameters: | parameters:\n    §training.epoch: {values: [3]}
lambda.yaml | parameters: | parameters:\n    §model.neuron.leek: {values: [3]}
lambda.yaml | parameters: | parameters:\n    §model.width: {values: [3]}
lambda.yaml | parameters: | parameters:\n    §training: {values: [3]}
lambda.yaml | parameters: | parameters:\n    §compute.device: {values: [3]}
lambda.yaml | {values: [0.002, | {values: [§-0.002,
lambda.yaml | {values: [0.002, | {values: [§much,
lambda.yaml | {values: [0.002, | {values: [§yes,
lambda.yaml | {values: [0.002, | {values: [§.nan,
lambda.yaml | {values: [0.002, | {values: [§8/0,
lambda.yaml | {values: [0.002, | {values: [§[1],
lambda.yaml | {values: [0.002, | {values: §[0.01,
lambda.yaml | {values: [0.002, | {low: 0, high: 1, values: §[0.002,
lambda.yaml | VALUES | {values: §[]}
lambda.yaml | VALUES | {low: §0, high: 1, log: true}
lambda.yaml | VALUES | {low: 0.1, high: §0.01}
lambda.yaml | VALUES | {low: 0.1, high: §0.1}
lambda.yaml | §strategy.sparsity_weight: VALUES | §strategy.sparsity_weight: {low: 0.1}
lambda.yaml | §strategy.sparsity_weight: VALUES | §strategy.sparsity_weight: {high: 0.1}
lambda.yaml | VALUES | §{low: 0.01, high: 0.1}
lambda.yaml | VALUES | §{low: 0.01, high: 0.1, log: true}
lambda.yaml | VALUES | {low: 0.01, high: 0.1, log: true, step: §0.01}
lambda.yaml | VALUES | {low: 0.01, high: 0.1, step: §0}
lambda.yaml | VALUES | {low: 0.01, high: 0.1, step: §-1}
lambda.yaml | VALUES | {low: 0.5, high: 2, step: 1, integer: §true}
lambda.yaml | VALUES | {low: §-1, high: 1, step: 1}
lambda.yaml | [clean_accuracy, robust_accuracy] | [clean_accuracy, §clean_accuracy]
lambda.yaml | [clean_accuracy, robust_accuracy] | [clean_accuracy, §accuracy]
lambda.yaml | [clean_accuracy, robust_accuracy] | §[]
lambda.yaml | [clean_accuracy, robust_accuracy] | [clean_accuracy]\n  constraints: {clean_accuracy: §95}
lambda.yaml | [clean_accuracy, robust_accuracy] | [clean_accuracy]\n  constraints: {robust_accuracy: §-0.1}
lambda.yaml | [clean_accuracy, robust_accuracy] | [clean_accuracy]\n  constraints: {§clean: 0.9}
lambda.yaml | [clean_accuracy, robust_accuracy] | [clean_accuracy]\n  §halving: {factor: 3}
lambda.yaml | [clean_accuracy, robust_accuracy] | [clean_accuracy]\n  halving: {first_epoch: 1, factor: §1}
lambda.yaml | suite: quick | suite: §quik
lambda.yaml | suite: quick | suite: §transfer
lambda.yaml | suite: quick | suite: §flips
lambda.yaml | suite: quick | suite: §no/such.yaml
lambda.yaml | suite: thorough | suite: §through
lambda.yaml | suite: thorough | suite: §events
lambda.yaml | suite: thorough | suite: §transfer_paper
lambda.yaml | trials: front | trials: front\n  §sources: [vanilla]
lambda.yaml | trials: front | trials: front\n  audit: §adit
lambda.yaml | trials: front | trials: §best
lambda.yaml | epsilon: 0.1 | epsilon: §8/0
lambda.yaml | epsilon: 0.1 | epsilon: §8/
lambda.yaml | epsilon: 0.1 | epsilon: §8/255/1
lambda.yaml | epsilon: 0.1 | epsilon: §8\\255
lambda.yaml | epsilon: 0.1 | epsilon: §"eight"
lambda.yaml | epsilon: 0.1 | epsilon: §8
lambda.yaml | epsilon: 0.1 | epsilon: §-8/255
lambda.yaml | epsilon: 0.1 | epsilon: §300/255
lambda.yaml | epsilon: 0.05, num_steps | epsilon: §8/0, num_steps
lambda.yaml | finite_difference_step: 0.01 | finite_difference_step: §0.2
lambda.yaml | finite_difference_step: 0.01 | finite_difference_step: §0
lambda.yaml | {method: sr, finite | {method: sr, §epsilon: 0.1, finite
lambda.yaml | vanilla: {method: vanilla} | vanilla: {method: vanilla, §epsilon: 0.1}
lambda.yaml | [vanilla, at] | [vanilla, sr]\n\nseeds: §0
lambda.yaml | sr: {method | §s r: {method
lambda.yaml | vanilla: {method | §"": {method
lambda.yaml | sr: {method | §1: {method
lambda.yaml | architecture: small | architecture: small\n  channels: §[8, 8]
lambda.yaml | architecture: small | architecture: small\n  channels: §[8, 8, 0]
lambda.yaml | architecture: small | architecture: small\n  channels: §[8, 8, 8192]
lambda.yaml | architecture: small | architecture: vgg11\n  channels: §[8, 8, 8]
lambda.yaml | architecture: small | architecture: small\n  neuron: {leak: §1.5}
lambda.yaml | architecture: small | architecture: small\n  neuron: {threshold: §0}
lambda.yaml | architecture: small | architecture: small\n  neuron: {width: §0}
lambda.yaml | architecture: small | architecture: small\n  neuron: {surrogate: §triange}
lambda.yaml | architecture: small | architecture: small\n  §input: binary
lambda.yaml | num_timesteps: 4 | num_timesteps: §0
lambda.yaml | num_timesteps: 4 | num_timesteps: §1001
lambda.yaml | num_timesteps: 4 | num_timesteps: §4.5
lambda.yaml | num_timesteps: 4 | num_timesteps: §yes
lambda.yaml | augmentation: none | augmentation: §nda
lambda.yaml | augmentation: none | augmentation: §flip
lambda.yaml | learning_rate: 0.1 | learning_rate: §0
lambda.yaml | learning_rate: 0.1 | learning_rate: §0,1
lambda.yaml | learning_rate: 0.1 | learning_rate: 0.1\n  momentum: §1.1
lambda.yaml | learning_rate: 0.1 | learning_rate: 0.1\n  selection: §best
lambda.yaml | epochs: 15 | epochs: §fifteen
lambda.yaml | batch_size: 64 | batch_size: §-64
lambda.yaml | step_size: 0.0125 | step_size: 0.0125, §threat: clamped
lambda.yaml | name: lambda | name: §../lambda
lambda.yaml | name: lambda | name: §a b
lambda.yaml | name: lambda | name: lambda\npaper: §table9/cifar10/vgg11
lambda.yaml | name: lambda | name: lambda\n§scale: tiny
lambda.yaml | name: lambda | name: lambda\ncompute: {device: §gpu}
lambda.yaml | name: lambda | name: lambda\ncompute: {gpus_per_trial: §-1}
lambda.yaml | name: lambda | name: lambda\ncompute: {cpus_per_trial: §0.5}
lambda.yaml | name: lambda | name: lambda\n§trials: 30
lambda.yaml | {dataset: digits} | {dataset: §digit}
lambda.yaml | {dataset: digits} | {dataset: §mnist}
lambda.yaml | {dataset: digits} | {dataset: digits, §root: data}
lambda.yaml | §data: {dataset: digits} | §data: {dataset: parquet}
lambda.yaml | {dataset: digits} | {dataset: cifar10, num_validation: §0}
lambda.yaml | {dataset: digits} | {dataset: digits, §frames: {num_frames: 4}}
lambda_h.yaml | sampler: tpe | sampler: §bayes
defences.yaml | sparsity_weight: 0.05 | sparsity_weight: §-0.05
defences.yaml | sr: {method: sr, sparsity_weight: 0.05} | sr: §{method: sr}
defences.yaml | gr: {method: gr, gradient_weight: 0.01} | §gr: {method: gr}
defences.yaml | rat: {method: rat, | rat: {method: rat, attack: §apgd,
defences.yaml | strategy.sparsity_weight: {values: [0.002, 0.01, 0.03]} | strategy.sparsity_weight: {values: [0.002, 0.01, 0.03]}\n    §strategy.beta: {values: [1]}
lambda.yaml | sampler: grid\n  strategies: [sr]\n  parameters:\n    strategy. | sampler: gp\n  num_trials: 9\n  strategies: [sr, at]\n  parameters:\n    §strategy.
nmnist.yaml | num_timesteps: 5 | num_timesteps: §4
nmnist.yaml | num_timesteps: 5 | num_timesteps: 5\n  §encoding: poisson
nmnist.yaml | frames:\n    num_frames: 5  | §frames:\n    antialias: true\n    num_frames: 5 
nmnist.yaml | §frames:\n    num_frames: 5 | §frames:\n    size: [16, 16]\n    dtype: uint8\n    num_frames: 5
nmnist.yaml | split_by: count | split_by: §counts
nmnist.yaml | {method: at, attack: fgsm, epsilon: 0.1} | {method: at, attack: fgsm, epsilon: 0.1, threat: §binary}
nmnist.yaml | {method: at, attack: fgsm, epsilon: 0.1} | {method: at, attack: fgsm, epsilon: 0.1, threat: §pixels}
images.yaml | num_validation: 500 | num_validation: §none
images.yaml | root: data/images | root: §[a, b]
images.yaml | root: data/images | root: data/images\n  mode: §rgb
images.yaml | root: data/images | root: data/images\n  normalization: §imagenet
""".replace("VALUES", VALUES)
SUITES = r"""
quick.yaml | oracles:\n  - {surrogate: triangle}\n  - {surrogate: sigmoid}\n  - {surrogate: arctangent}\n  - {method: rga} | §oracles: []
quick.yaml | {method: rga} | {method: rga, width: §2}
quick.yaml | {method: rga} | {method: rga, surrogate: §sigmoid}
quick.yaml | {method: rga} | {method: assg, width: §0.5}
quick.yaml | {method: rga} | {method: §rgb}
quick.yaml | {method: rga} | {method: rga}\nthen:\n  - attacks:\n      §pgd10-ce: {method: fgsm}\n    oracles: [{method: own}]
quick.yaml | {method: rga} | {method: rga}\nthen:\n  - §attacks: {fgsm: {method: fgsm}}
quick.yaml | {surrogate: sigmoid} | {surrogate: sigmoid, width: §0}
quick.yaml | {surrogate: sigmoid} | {surrogate: straight_through, width: §1}
quick.yaml | order: survivors | order: §survivor
quick.yaml | order: survivors | order: survivors\nthreat: §binry
quick.yaml | epsilon: 8/255 | epsilon: §8
quick.yaml | pgd10-ce: {method: pgd, num_steps: 10, relative_step_size: 0.4, loss: cross_entropy, iterate: any} | §pgd10-ce: {method: flip, flips: 3}
quick.yaml | loss: cross_entropy | loss: §crossentropy
quick.yaml | name: quick | name: §quick suite
flips.yaml | flip-20: {method: flip, flips: 20, num_steps: 10, loss: margin} | §flip-20: {method: pgd}
flips.yaml | flips: 20, num_steps | flips: §0, num_steps
transfer.yaml | access: transfer | access: §black_box
autoattack.yaml | num_queries: 5000 | num_queries: §none
audit.yaml | epsilon_factor: 4 | epsilon_factor: §0
"""
