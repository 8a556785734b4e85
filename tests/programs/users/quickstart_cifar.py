"""Extra (e): the quickstart of torch: a convolutional network, pickled and scripted."""

import os

import cloudpickle
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from penstock import deploy, model_api_request, model_type


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


torch.manual_seed(1)
net = Net()
with open("cifar.pkl", "wb") as file:
    cloudpickle.dump(net, file)
torch.jit.script(net).save("cifar.pt")
pictures = np.random.default_rng(1).random((2, 3, 32, 32), dtype=np.float32)

for name, path in (("cifar-pickled", "cifar.pkl"), ("cifar-scripted", "cifar.pt")):
    endpoint = deploy((model_type.TORCH, path), name, os.environ["PRIVATE_KEY"])
    answer = model_api_request(endpoint, pictures, os.environ["PUBLIC_KEY"])
    with torch.no_grad():
        own = net.eval()(torch.from_numpy(pictures)).numpy()
    print(
        name, answer["status_code"], np.abs(np.array(answer["data"]["result"]) - own).max() < 1e-5
    )
