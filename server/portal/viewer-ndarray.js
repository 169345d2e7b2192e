function compileConstructor(dtype, dimension) {
  // In place of ndarray's own, which makes its classes from text: the policy of the page forbids that.
  function View(data, shape, stride, offset) {
    this.data = data;
    this.shape = Array.prototype.slice.call(shape || []);
    this.stride = Array.prototype.slice.call(stride || []);
    this.offset = offset | 0;
  }
  const made = (data, shape, stride, offset) => new View(data, shape, stride, offset);
  const given = each => typeof each === "number" && each >= 0;
  const proto = View.prototype;
  proto.dtype = dtype;
  proto.dimension = dimension;
  Object.defineProperty(proto, "size", {
    get() { return dimension < 0 ? 0 : this.shape.reduce((size, each) => size * each, 1); },
  });
  Object.defineProperty(proto, "order", { get: order });
  proto.index = function () {
    if (dimension < 0) return -1;
    let at = this.offset;
    for (let k = 0; k < this.stride.length; ++k) at += this.stride[k] * arguments[k];
    return at;
  };
  proto.get = function () {
    const at = this.index.apply(this, arguments);
    return dtype === "generic" ? this.data.get(at) : this.data[at];
  };
  proto.set = function () {
    const at = this.index.apply(this, arguments), value = arguments[this.stride.length];
    return dtype === "generic" ? this.data.set(at, value) : (this.data[at] = value);
  };
  proto.hi = function () {
    return made(this.data, this.shape.map((n, k) => given(arguments[k]) ? arguments[k] | 0 : n), this.stride, this.offset);
  };
  proto.lo = function () {
    let offset = this.offset;
    const shape = this.shape.map((n, k) => {
      const by = given(arguments[k]) ? arguments[k] | 0 : 0;
      offset += this.stride[k] * by;
      return n - by;
    });
    return made(this.data, shape, this.stride, offset);
  };
  proto.step = function () {
    let offset = this.offset;
    const shape = this.shape.slice(), stride = this.stride.slice();
    for (let k = 0; k < shape.length; ++k) {
      if (typeof arguments[k] !== "number") continue;
      const by = arguments[k] | 0;
      if (by < 0) offset += stride[k] * (shape[k] - 1);
      shape[k] = Math.ceil(shape[k] / Math.abs(by));
      stride[k] *= by;
    }
    return made(this.data, shape, stride, offset);
  };
  proto.transpose = function () {
    const places = this.shape.map((_, k) => arguments[k] === undefined ? k : arguments[k] | 0);
    return made(this.data, places.map(k => this.shape[k]), places.map(k => this.stride[k]), this.offset);
  };
  proto.pick = function () {
    let offset = this.offset;
    const shape = [], stride = [];
    for (let k = 0; k < this.shape.length; ++k) {
      if (given(arguments[k])) offset = (offset + this.stride[k] * arguments[k]) | 0;
      else { shape.push(this.shape[k]); stride.push(this.stride[k]); }
    }
    return wrappedNDArrayCtor(this.data, shape, stride, offset);
  };
  return made;
}

