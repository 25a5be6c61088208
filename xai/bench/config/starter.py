"""The commented configuration that a benchmark starts from."""

STARTER = """\
# A faithfulness benchmark. Run it: xai benchmark run THIS_FILE; see what it would cost: --dry-run.
name: my-benchmark

# demo, hf:ORG/NAME, local:DIR, timm:NAME, open_clip:NAME/PRETRAINED, a detector's YAML, or a mapping:
#   {config: clip.yaml, weights: clip.pth, device: cuda}
model: demo

# One of images, manifest (CSV or Parquet: path,label,mask,group,kind), shards and forgeries.
# Paths are taken from this file's folder.
data:
  # images: [photos/, "frames/**/*.png"]
  # manifest: faces.csv
  # shards: "s3://bucket/faces-{000..123}.tar" # WebDataset, or .parquet with the bytes in the column image
  forgeries: {photos: shipped, count: 200, kinds: [upsampling, noise], pristine: false, seed: 0}
  # limit: 500                  # the first ones; the intervals say whether they were enough

# Registry names (xai methods lists them), or mappings with a row name of their own.
methods:
  # what xai explain shows by default
  - {name: faithful, method: integrated_mask_gradient, options: {n_steps: 8}}
  - gradient_weighted_attention
  - {name: gwa_clamped, method: gradient_weighted_attention, options: {layers: last_4_layers, clamp: fused}}
  - attention_rollout

# What every method must beat, and what could be reached (greedy: on a few images only).
controls: {random_seeds: 3, center_prior: true, sobel: true, raw_attention: true, greedy_images: 10}

# Presets, or presets with changes. Numbers of different protocols never share a table.
protocols:
  - vit-token                   # removed patches are masked in every attention layer
  - vit-mean                    # removed patches become the image's mean colour
  # - {base: vit-mean, steps: 7}

# srg (LeRF - MoRF) is the headline. Those that read masks: pointing_game, mass_accuracy, rank_accuracy, …
metrics: [srg, deletion, insertion, saco]

# Costly tests, on the first images only:
# checks: {metrics: [infidelity, sensitivity_max, class_sensitivity, randomization], images: 10}

explain: margin                 # or logit: what the methods are asked to explain, for the protocol's class
statistics: {resamples: 9999, alpha: 0.05}
seed: 0
batch_size: 32                  # halved by itself when memory runs out
shard_size: 16                  # images per unit of work: what a killed run loses at most
keep_images: null               # of so many images maps and pictures are kept for the page; null for all
device: null                    # cpu, cuda, cuda:1 …
dtype: null                     # float32, bfloat16 …; null keeps that of the weights
autocast: null                  # bfloat16 on a GPU: faster forwards of the perturbed images
"""


def starter_config() -> str:
    """A commented YAML that runs as it is, on the shipped detector and forged shipped photographs."""
    return STARTER
