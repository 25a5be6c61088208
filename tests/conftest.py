import torch

torch.set_num_threads(1)  # the suite runs in parallel processes; tiny models gain nothing from more threads
