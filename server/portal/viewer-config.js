// What OHIF starts with. Served by viewer.py, which puts the settings in place of null; never cached.
const lightbox = null;

// One patient's root when the address names the patient: two patients may hold studies of the same UID.
function rootOf(query) {
  const patient = query.get('patient') || '';
  return /^[A-Za-z0-9.-]{1,64}$/.test(patient) ? `${lightbox.root}/patients/${patient}/dicomweb` : `${lightbox.root}/dicomweb`;
}

window.config = {
  name: 'lightbox',
  routerBasename: `${lightbox.root}/viewer`,
  extensions: [],
  modes: [],
  customizationService: {},
  showStudyList: false,
  showErrorDetails: 'production',
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'configure', days: 90 },
  maxNumberOfWebWorkers: 3,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 10 },
  defaultDataSourceName: 'lightbox',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'lightbox',
      configuration: {
        friendlyName: 'Lightbox',
        name: 'lightbox',
        qidoRoot: `${lightbox.root}/dicomweb`,
        wadoRoot: `${lightbox.root}/dicomweb`,
        wadoUriRoot: `${lightbox.root}/dicomweb/wado`,
        qidoSupportsIncludeField: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'thumbnail',
        thumbnailRequestStrategy: 'fetch',
        enableStudyLazyLoad: true,
        omitQuotationForMultipartRequest: true,
        singlepart: 'bulkdata,video',
        // By frames, as everything else: a whole instance is a download, which a share may leave out.
        loadMultiframeAsPart10: false,
        bulkDataURI: { enabled: true },
        onConfiguration(configuration, { query }) {
          const root = rootOf(query);
          return { ...configuration, qidoRoot: root, wadoRoot: root };
        },
      },
    },
  ],
  whiteLabeling: {
    createLogoComponentFn: React =>
      React.createElement('a', { href: `${lightbox.root}/`, className: 'text-white text-lg px-2' }, lightbox.name),
  },
  // The session rides along as a cookie; when it has ended, so has the viewer.
  httpErrorHandler(error) {
    if (error.status === 401) {
      const here = window.location.pathname + window.location.search;
      window.location.assign(`${lightbox.root}/sign-in?next=${encodeURIComponent(here)}`);
    }
  },
};
