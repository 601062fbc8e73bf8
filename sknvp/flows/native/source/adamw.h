// A step of AdamW with clipped gradients; `train/adamw.py` explains it.
#pragma once
#include "vector.h"

namespace {

// This structure holds the numbers of a step; `optimizer.py` declares its fields too.
struct Step {
  void *parameters, *gradient, *mean, *square;  // Each has shape (n_members, n_parameters).
  int64_t n_members, n_parameters;
  double decay, rate, beta_1, beta_2, correction_2, epsilon, max_norm;
};

// Replace numbers that are not finite by zero, and return the norm.
template <class T>
double clean(T* gradient, int64_t n) {
  double squares[8] = {};
  for (int64_t i = 0; i < n; i++) gradient[i] = std::abs(gradient[i]) <= Format<T>::HUGE_NUMBER ? gradient[i] : T(0);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; k++) squares[k] += (double)gradient[i + k] * gradient[i + k];
  for (; i < n; i++) squares[0] += (double)gradient[i] * gradient[i];
  for (int k = 1; k < 8; k++) squares[0] += squares[k];
  return std::sqrt(squares[0]);
}

template <class T>
void take_step(const Step& step, int64_t member) {
  const int64_t n = step.n_parameters;
  T* __restrict parameters = (T*)step.parameters + member * n;
  T* __restrict gradient = (T*)step.gradient + member * n;
  T* __restrict mean = (T*)step.mean + member * n;
  T* __restrict square = (T*)step.square + member * n;
  const double norm = clean(gradient, n);
  const T clip = T(norm > step.max_norm ? step.max_norm / norm : 1), keep = T(1 - step.decay), rate = T(step.rate);
  const T new_1 = T(1 - step.beta_1), old_2 = T(step.beta_2), new_2 = T(1 - step.beta_2);
  const T correction = T(1 / step.correction_2), epsilon = T(step.epsilon);
  for (int64_t i = 0; i < n; i++) {
    T g = gradient[i] * clip;
    mean[i] += (g - mean[i]) * new_1;
    square[i] = square[i] * old_2 + g * g * new_2;
    parameters[i] = parameters[i] * keep - rate * mean[i] / (std::sqrt(square[i] * correction) + epsilon);
  }
}

}  // namespace
