// Calls of every function of the native library, to be run under the address and undefined-behaviour sanitizers.
//
// Every tensor ends where its memory ends, and begins where no vector does, as parts of PyTorch's tensors may. The
// answers are compared with PyTorch's elsewhere; here rows must come back, and all numbers must be finite.
#define SKNVP_SOURCE "sanitized"
#include "library.cpp"

#include <cstdio>
#include <functional>
#include <initializer_list>
#include <random>

namespace {

std::mt19937 source(0);

// A tensor of normal noise.
template <class T>
struct Tensor {
  std::unique_ptr<T[]> memory;
  int64_t size;
  T* start;

  explicit Tensor(int64_t size, double scale = 1) : memory(new T[size + 1]), size(size), start(memory.get() + 1) {
    std::normal_distribution<double> normal;
    for (int64_t i = 0; i < size; i++) start[i] = T(scale * normal(source));
  }
  bool is_finite() const {
    return std::all_of(start, start + size, [](T number) { return std::isfinite(number); });
  }
};

int n_faults = 0;

void expect_true(bool condition, const char* what, int d, int n_members, int n_rows) {
  if (condition) return;
  std::printf("%s: %d columns, %d members, %d rows\n", what, d, n_members, n_rows);
  n_faults++;
}

// A chain: normal scores of all members but the first, a permutation, then couplings in turn with LU layers between them,
// and the parameters of all members.
template <class T>
struct Flow {
  std::vector<Layer> layers;
  std::vector<int64_t> order;
  std::vector<Tensor<T>> tables;  // knots, scores and slopes
  std::vector<Tensor<T>> parts, gradients;
  std::vector<void*> starts, grad_starts;
  std::vector<int64_t> steps;
  int d, n_members, n_context;
  Chain chain;

  Flow(Kind kind, Activation activation, std::vector<int> hidden, int d, int n_members, int n_context, int n_couplings)
      : d(d), n_members(n_members), n_context(n_context) {
    for (int m = 0; m < n_members; m++)
      for (int j = 0; j < d; j++) order.push_back(m * d + (j + m) % d);
    add_scores();
    Layer permute{PERMUTE};
    permute.rows = order.data();
    layers.push_back(permute);
    for (int i = 0; i < n_couplings; i++) {
      add_coupling(kind, activation, hidden, i % 2);
      Layer linear{LU_LINEAR, 1};
      linear.bound = 3;
      layers.push_back(linear);
      add_part(d * d, 0.3 / std::sqrt(d));
    }
    for (size_t i = 0; i < parts.size(); i++) {
      starts.push_back(parts[i].start);
      grad_starts.push_back(gradients[i].start);
      steps.push_back(parts[i].size / n_members);
    }
    chain = {(int)layers.size(), (int)parts.size(), d, n_context, layers.data()};
  }

  // Add splines that increase from knot to knot.
  void add_scores() {
    const int64_t n_knots = 6, n = (int64_t)(n_members - 1) * d * n_knots;
    for (int i = 0; i < 3; i++) {
      Tensor<T>& table = tables.emplace_back(n);
      for (int64_t k = 0; k < n; k++) table.start[k] = i < 2 ? T(k % n_knots) - 2 + std::abs(std::sin(T(k))) / 2 : T(0.8);
    }
    Layer scores{NORMAL_SCORES};
    scores.n_plain = 1, scores.n_knots = n_knots;
    scores.knots = tables[0].start, scores.scores = tables[1].start, scores.slopes = tables[2].start;
    layers.push_back(scores);
  }

  void add_part(int64_t size, double scale) {
    parts.emplace_back(n_members * size, scale);
    gradients.emplace_back(n_members * size);
  }

  void add_coupling(Kind kind, Activation activation, const std::vector<int>& hidden, int flip) {
    Layer layer{kind, 0, d / 2, flip, activation, (int)hidden.size() + 1};
    layer.bound = kind == SPLINE ? 5 : 2;
    const int n_b = flip ? d / 2 : d - d / 2;
    layer.sizes[0] = d - n_b + n_context;
    for (size_t i = 0; i < hidden.size(); i++) layer.sizes[i + 1] = hidden[i];
    layer.sizes[layer.n_dense] = n_b * (kind == SPLINE ? N_SPLINE_PARAMETERS : 2);
    layer.n_parts = 2 * layer.n_dense;
    for (int i = 0; i < layer.n_dense; i++)
      add_part((int64_t)layer.sizes[i] * layer.sizes[i + 1], 0.7 / std::sqrt(1 + layer.sizes[i]));
    for (int i = 0; i < layer.n_dense; i++) add_part(layer.sizes[i + 1], 0.1);
    layers.push_back(layer);
  }

  Call call(const Tensor<T>& x, const Tensor<T>& context, int n_rows, int n_threads) {
    Call call{};
    call.is_double = sizeof(T) == 8, call.n_members = n_members, call.n_threads = n_threads, call.n_rows = n_rows;
    call.x = {x.start, (int64_t)d * n_rows, n_rows, 1};
    call.context = {context.start, (int64_t)n_context * n_rows, 1, n_context};
    call.parts = {starts.data(), steps.data()};
    call.grad_parts = {grad_starts.data(), steps.data()};
    return call;
  }
};

template <class T>
void try_flow(Flow<T> flow, int n_rows, int n_threads) {
  const int64_t n = (int64_t)flow.n_members * n_rows;
  const Chain* chain = &flow.chain;
  Tensor<T> x(n * flow.d, 2), context(n * flow.n_context), z(n * flow.d), log_det(n), back(n * flow.d), back_det(n);
  Tensor<T> grad_x(n * flow.d), grad_context(n * flow.n_context);
  Tensor<double> weights(n), tail(n), value(flow.n_members);
  auto check = [&](bool condition, const char* what) { expect_true(condition, what, flow.d, flow.n_members, n_rows); };

  Call call = flow.call(x, context, n_rows, n_threads);
  call.image = z.start, call.log_det = log_det.start;
  sknvp_evaluate(chain, &call);
  Call inverse = flow.call(z, context, n_rows, n_threads);
  inverse.inverse = 1, inverse.image = back.start, inverse.log_det = back_det.start;
  sknvp_evaluate(chain, &inverse);
  double largest = 0;
  for (int64_t i = 0; i < x.size; i++) largest = std::max(largest, (double)std::abs(x.start[i] - back.start[i]));
  check(largest < (sizeof(T) == 8 ? 1e-6 : 0.5), "rows do not come back");

  const int64_t size = sknvp_tape_size(chain, n_rows, call.is_double);
  Memory<T> tape(size * flow.n_members);
  call.tape = tape.start.get();
  sknvp_evaluate(chain, &call);
  Call vjp = flow.call(z, context, n_rows, n_threads);
  vjp.tape = call.tape, vjp.image = grad_x.start, vjp.log_det = log_det.start, vjp.grad_context = grad_context.start;
  sknvp_vjp(chain, &vjp);
  check(grad_x.is_finite() && grad_context.is_finite(), "gradients of rows");

  Call likelihood = flow.call(x, context, n_rows, n_threads);
  likelihood.weights = weights.start, likelihood.value = value.start;
  sknvp_log_prob_and_gradients(chain, &likelihood);
  likelihood.tail = tail.start;
  sknvp_log_prob_and_gradients(chain, &likelihood);
  check(value.is_finite(), "log-densities");
  const Call calls[] = {likelihood, likelihood};
  Tensor<T> mean(flow.parts[0].size, 0), square(flow.parts[0].size, 0);
  const Step step{flow.starts[0], flow.grad_starts[0], mean.start, square.start, flow.n_members, flow.steps[0],
                  1e-3, 1e-2, 0.9, 0.999, 1e-3, 1e-8, 5};
  const Step steps[] = {step, step};
  sknvp_descend(chain, calls, steps, 2);
  check(value.is_finite() && flow.parts[0].is_finite(), "steps");
  for (const Tensor<T>& part : flow.gradients) check(part.is_finite(), "gradients of parameters");
}

template <class T>
void try_flows() {
  for (int n_threads : {1, 3})
    for (int n_rows : {1, 17, 128, 300}) {
      try_flow<T>({SPLINE, SILU, {}, 1, 2, 0, 2}, n_rows, n_threads);
      try_flow<T>({SPLINE, SILU, {8, 8}, 2, 3, 0, 3}, n_rows, n_threads);
      try_flow<T>({AFFINE, RELU, {5, 7, 3}, 3, 1, 2, 2}, n_rows, n_threads);
      try_flow<T>({SPLINE, TANH, {9}, 7, 2, 1, 2}, n_rows, n_threads);
      try_flow<T>({AFFINE, SILU, {32, 33}, 33, 2, 0, 2}, n_rows, n_threads);
    }
  Tensor<T> parameters(3 * 21), gradient(3 * 21, 1e3), mean(3 * 21, 0), square(3 * 21, 0);
  gradient.start[5] = INFINITY, gradient.start[50] = NAN;
  Step step{parameters.start, gradient.start, mean.start, square.start, 3, 21, 1e-3, 1e-2, 0.9, 0.999, 1e-3, 1e-8, 5};
  sknvp_adamw(&step, sizeof(T) == 8);
  expect_true(parameters.is_finite(), "a step of AdamW", 21, 3, 0);
}

void try_experts(int d, int n_members, int n_rows, int n_parts, int n_noise, int n_threads) {
  const int64_t n = (int64_t)n_members * n_rows, k = (int64_t)n_members * n_parts, n_monomials = (d + 1) * (d + 2) / 2;
  Tensor<double> z(n * d), constants(k), shifts(k * d), matrices(k * d * d), value(n), noise((int64_t)n_rows * n_noise);
  Tensor<double> points(k * d), coefficients(k * n_monomials, 0.1), moments(k * (n_monomials + n_noise)), weights(n);
  constants.start[0] = -INFINITY;
  for (int64_t i = 0; i < n; i++) weights.start[i] = i % 3 ? std::abs(weights.start[i]) : 0;
  const Columns columns{z.start, (int64_t)n_rows * d, 1, d};
  Expert call{};
  call.n_threads = n_threads, call.n_members = n_members, call.n_rows = n_rows, call.n_features = d;
  call.n_parts = n_parts, call.z = columns, call.weights = weights.start, call.noise = noise.start, call.n_noise = n_noise;
  call.constants = constants.start, call.shifts = shifts.start, call.matrices = matrices.start;
  call.scale = 0.5, call.value = value.start;
  sknvp_mixture_log_prob(&call);
  bool is_finite = n_parts == 1 || value.is_finite();
  call.matrices = points.start;
  sknvp_kernels_log_sum(&call);
  is_finite = is_finite && (n_parts == 1 || value.is_finite());
  call.constants = coefficients.start, call.moments = moments.start;
  sknvp_expect(&call);
  expect_true(is_finite && (n_rows == 1 || moments.is_finite()), "experts", d, n_members, n_rows);
}

void try_maximization(int d, int n_members, int n_parts, int n_noise, int n_threads) {
  const int64_t k = (int64_t)n_members * n_parts, n_monomials = (d + 1) * (d + 2) / 2, n_sums = n_monomials + n_noise;
  Tensor<double> sums(k * n_sums), coefficients(k * n_monomials), value(n_members);
  for (int64_t i = 0; i < k * n_sums; i++) sums.start[i] = i % n_sums == 0;  // rows that are all zero
  Expert call{};
  call.n_threads = n_threads, call.n_members = n_members, call.n_features = d, call.n_parts = n_parts;
  call.n_noise = n_noise, call.constants = sums.start, call.moments = coefficients.start, call.value = value.start;
  call.scale = 0.5;
  sknvp_maximize(&call);
  expect_true(coefficients.is_finite() && value.start[0] == 1, "a maximization step", d, n_members, 0);
}

}  // namespace

int main() {
  try_flows<float>();
  try_flows<double>();
  for (int n_threads : {1, 3})
    for (int d : {1, 3, 13}) {
      try_maximization(d, 2, 5, 0, n_threads);
      try_maximization(d, 3, 2, d, n_threads);
    }
  for (int n_threads : {1, 3})
    for (int n_rows : {1, 129, 300}) {
      try_experts(1, 1, n_rows, 1, 0, n_threads);
      try_experts(3, 2, n_rows, 25, 2, n_threads);
      try_experts(13, 2, n_rows, 7, 1, n_threads);
    }
  return n_faults > 0;
}
